import pytest

from crossearth_jax.data.root import check_prepared, fill_root, prepare_command

TEXTS = ["{root}/potsdam_irrg/train", "a={root}/potsdam_rgb/val,b={root}/vaihingen/val"]


def message(texts, root):
    with pytest.raises(ValueError) as error:
        check_prepared(texts, root)
    return str(error.value)


def test_without_a_root_each_command_is_given_once():
    assert message(TEXTS, None).splitlines() == [
        "got no data.root, expected the folder of the prepared data: set "
        "--config.data.root=ROOT, or prepare it:",
        "  crossearth prepare potsdam --raw DIR --out ROOT",
        "  crossearth prepare vaihingen --raw DIR --out ROOT",
    ]


def test_only_what_is_missing_is_named(tmp_path):
    root = tmp_path / "my data"
    (root / "potsdam_irrg/train").mkdir(parents=True)
    (root / "potsdam_rgb").mkdir()
    (root / "potsdam_rgb/val.array_record").touch()  # packed
    lines = message(TEXTS, str(root)).splitlines()
    assert lines[0].startswith(f"got no {root}/vaihingen/val, expected")
    assert lines[1:] == [f"  crossearth prepare vaihingen --raw DIR --out '{root}'"]
    (root / "vaihingen/train").mkdir(parents=True)  # not the split that is asked for
    assert "vaihingen/val" in message(TEXTS, str(root))
    (root / "vaihingen/val").mkdir()
    check_prepared(TEXTS, str(root))


def test_own_folders_have_no_command(tmp_path):
    assert "prepare" not in message(["{root}/mine"], str(tmp_path)).split("there")[1]
    assert message(["{root}/mine"], None).endswith("set --config.data.root=ROOT")
    check_prepared(["A/images:A/labels"], None)


def test_fill_root():
    assert fill_root("x={root}/x/val,y={root}/y/val", "/r") == "x=/r/x/val,y=/r/y/val"
    assert fill_root("A/images:A/labels", None) == "A/images:A/labels"


def test_five_classes_have_their_option():
    command = prepare_command("potsdam5_rgb", "/r")
    assert command == "crossearth prepare potsdam --classes 5 --raw DIR --out /r"
