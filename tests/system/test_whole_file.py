"""A file is there whole, or as it was."""

import pytest

from crossearth_jax.system.whole_file import whole_file


def test_a_finished_file_takes_its_name(tmp_path):
    with whole_file(tmp_path / "a.txt") as place:
        place.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_broken_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(tmp_path / "a.txt") as place:
        place.write_text("ne")
        raise OSError("disk full")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
