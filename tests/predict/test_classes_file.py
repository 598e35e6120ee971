import pytest

from crossearth_jax.data.classes import ClassSet, load_classes, save_classes

CLASSES = ClassSet(("ground", "roof"), ((0, 0, 0), (255, 200, 0)))


def test_names_and_colours_come_back(tmp_path):
    save_classes(CLASSES, tmp_path / "classes.json")
    assert load_classes(tmp_path / "classes.json") == CLASSES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[]", "without names and palette"),
        ('{"names": ["a", "b"]}', "without names and palette"),
        ('{"names": ["a"], "palette": [[0, 0]]}', "three integers"),
        ('{"names": [1, 2], "palette": [[0, 0, 0], [1, 1, 1]]}', "list of names"),
        ('{"names": ["a"], "palette": 3}', "not iterable"),
    ],
)
def test_another_file_is_refused(tmp_path, text, why):
    path = tmp_path / "classes.json"
    path.write_text(text)
    said = rf"classes\.json \(.*{why}.*\), expected a JSON object"
    with pytest.raises(ValueError, match=said) as error:
        load_classes(path)
    assert "Error(" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="copy it from the run"):
        load_classes(tmp_path / "classes.json")
