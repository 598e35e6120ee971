import pytest

from crossearth_jax.data.classes import ClassSet, load_classes, save_classes

CLASSES = ClassSet(("ground", "roof"), ((0, 0, 0), (255, 200, 0)))


def test_names_and_colours_come_back(tmp_path):
    save_classes(CLASSES, tmp_path / "classes.json")
    assert load_classes(tmp_path / "classes.json") == CLASSES


@pytest.mark.parametrize(
    "text", ["", "[]", '{"names": ["a", "b"]}', '{"names": ["a"], "palette": [[0, 0]]}']
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "classes.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"classes\.json.*expected a JSON object"):
        load_classes(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="copy it from the run"):
        load_classes(tmp_path / "classes.json")
