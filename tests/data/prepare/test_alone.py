"""Two processes that prepare one folder."""

import multiprocessing

import pytest

from crossearth_jax.data.prepare.alone import alone


def hold(folder, held, end):
    with alone(folder):
        held.set()
        end.wait(30)


def test_the_second_gets_one_line_and_the_lock_ends_with_the_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, end = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "a", held, end))
    other.start()
    assert held.wait(30)
    with pytest.raises(ValueError, match="another `crossearth prepare` fills"):
        with alone(tmp_path / "a"):
            pass
    with alone(tmp_path / "b"):  # other domains are free
        pass
    other.kill()
    other.join()
    with alone(tmp_path / "a"):
        pass
