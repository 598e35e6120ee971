"""Several ignored values, and classes that are dropped."""

import numpy as np
import pytest

from crossearth_jax.data.classes import (
    ClassSet,
    LabelEncoding,
    encode_label,
    meaning_of,
)

FILE = """
classes:
  - {name: ground, color: [0, 0, 0]}
  - {name: roof, color: [200, 0, 0]}
"""


def read(tmp_path, more):
    path = tmp_path / "classes.yaml"
    path.write_text(FILE + more)
    return ClassSet.from_file(path)


@pytest.mark.parametrize(
    ("more", "meaning"),
    [
        ("encoding: ids\nignore: [9, 255]", {0: 0, 1: 1, 9: 255, 255: 255}),
        ("encoding: ids\nignore: 7", {0: 0, 1: 1, 7: 255}),
        (
            "encoding: ids\nids: {1: ground, 2: roof, 7: ignore}\nignore: [0, 255]",
            {1: 0, 2: 1, 7: 255, 0: 255, 255: 255},
        ),
        ("encoding: mask255\nignore: [1, 2]", {0: 0, 255: 1, 1: 255, 2: 255}),
        (
            "encoding: colours\nignore: [0, 0, 1]",
            {0: 0, 200 << 16: 1, 1: 255},
        ),
        (
            "encoding: colours\nignore: [[0, 0, 1], [0, 0, 2], [0, 0, 3]]",
            {0: 0, 200 << 16: 1, 1: 255, 2: 255, 3: 255},
        ),
    ],
)
def test_class_files_may_ignore_several_values(tmp_path, more, meaning):
    classes = read(tmp_path, more)
    assert meaning_of(classes, classes.encoding) == meaning


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "encoding: ids\nignore: [0, 255]",
            "ignore 0, which also means class 'ground'",
        ),
        ("encoding: ids\nignore: [255, 255]", "ignored value 255 twice"),
        (
            "encoding: ids\nignore: [seven]",
            "ignore 'seven' with encoding ids, exp",
        ),
        ("encoding: colours\nignore: [[0, 0]]", "expected three integers"),
        ("encoding: ids\nids: {7: ignored}", "a class name, its id or ignore"),
    ],
)
def test_what_cannot_be_ignored_is_refused(tmp_path, more, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, more)


def test_dropped_and_ignored_pixels_count_nowhere():
    classes = ClassSet(("a", "b"), ((0, 0, 0), (1, 1, 1)))
    encoding = LabelEncoding("ids", ignore=(0, 255), ids=((1, 0), (2, 1), (7, 255)))
    label = encode_label(np.array([[0, 1, 2, 7, 255]]), classes, encoding)
    assert label.tolist() == [[255, 0, 1, 255, 255]]
