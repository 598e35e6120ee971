import threading
import time

import pytest

from crossearth_jax.predict.pipeline import Waiting, read_ahead, write_behind


def threads():
    return {t.name for t in threading.enumerate()} & {"reader", "writer"}


def test_items_come_in_order_and_not_too_far_ahead():
    made = []

    def items():
        for i in range(20):
            made.append(i)
            yield i

    got = read_ahead(items(), Waiting(), depth=2)
    assert next(got) == 0
    time.sleep(0.2)
    assert len(made) <= 4
    assert list(got) == list(range(1, 20)) and not threads()


def test_an_error_of_the_reader_is_raised():
    def items():
        yield 1
        raise OSError("broken tile")

    got = read_ahead(items(), Waiting())
    assert next(got) == 1
    with pytest.raises(OSError, match="broken tile"):
        next(got)
    assert not threads()


def test_closing_ends_the_reader():
    got = read_ahead(iter(range(1000)), Waiting())
    next(got)
    got.close()
    assert not threads()


def test_everything_is_written():
    written = []

    def write(item):
        time.sleep(0.01)
        written.append(item)

    waiting = Waiting()
    with write_behind(write, waiting, depth=1) as put:
        for i in range(10):
            put(i)
    assert written == list(range(10)) and not threads()
    assert waiting.write > 0.03  # a slow disk shows


def test_an_error_of_the_writer_is_raised():
    def write(item):
        raise OSError("No space left")

    with pytest.raises(OSError, match="No space left"):
        with write_behind(write, Waiting()) as put:
            for i in range(100):
                put(i)
    assert not threads()


def test_an_error_while_computing_drops_what_waits():
    with pytest.raises(KeyboardInterrupt):
        with write_behind(lambda item: time.sleep(0.01), Waiting()) as put:
            put(1)
            raise KeyboardInterrupt
    assert not threads()


def test_waiting_for_a_slow_reader_is_counted():
    def items():
        for i in range(3):
            time.sleep(0.05)
            yield i

    waiting = Waiting()
    list(read_ahead(items(), waiting))
    assert 0.1 < waiting.read < 1
