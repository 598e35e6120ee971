"""Which rows of a class head a training takes from what it starts from."""

import dataclasses

import numpy as np
import pytest

from crossearth_jax.config import default
from crossearth_jax.config_file import with_backbone
from crossearth_jax.models import class_head
from crossearth_jax.run.initial import (
    backbone_of_run,
    choose_rows,
    names_of,
    read_initial,
)
from crossearth_jax.run_settings import start_settings

BEFORE = ("ground", "roof", "road")


def test_rows_by_name():
    now = ("Road ", "snow", "ground")
    assert class_head.by_name(BEFORE, now) == (2, None, 0, 3)
    assert class_head.all_fresh(2) == (None, None, None)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ((2, None, 0, 3), [2, 10, 0, 3]),
        ((None, None, None), [10, 10, 10]),
        ((1, 3), [1, 3]),  # fewer classes
    ],
)
def test_heads_are_put_together(rows, columns):
    def head(values):
        kernel = np.tile(np.float32(values), (2, 1))
        return {class_head.KERNEL: kernel, class_head.BIAS: np.float32(values)}

    given = {**head(range(4)), "decoder.level_embed": np.zeros(3)}
    made = class_head.with_rows(given, head([10] * len(rows)), rows)
    np.testing.assert_array_equal(made[class_head.BIAS], columns)
    np.testing.assert_array_equal(made[class_head.KERNEL], [columns, columns])
    assert made.keys() == given.keys()
    np.testing.assert_array_equal(given[class_head.BIAS], range(4))


@pytest.mark.parametrize(
    ("rule", "before", "now", "expected"),
    [
        ("same", BEFORE, BEFORE, None),
        ("same", BEFORE, ("Ground", "roof", "road"), None),
        ("same", (), ("a", "b", "c"), None),
        ("by_name", BEFORE, ("snow", "roof"), (None, 1, 3)),
        ("fresh", BEFORE, ("a", "b"), (None, None, None)),
        ("fresh", (), ("a", "b"), (None, None, None)),
    ],
)
def test_rules(rule, before, now, expected):
    assert choose_rows("run", 3, before, now, rule) == expected


@pytest.mark.parametrize(
    ("rule", "before", "now", "message"),
    [
        ("same", BEFORE, BEFORE[::-1], r"of \['ground', 'roof', 'road'\].*by_name"),
        ("same", BEFORE, ("ground", "roof"), "expected the same in the same order"),
        ("same", (), ("a", "b"), "of 3 classes without names"),
        ("by_name", (), ("a", "b"), "--classes FILE"),
        ("by_name", BEFORE, ("a", "b"), "a name that both have"),
        ("same", BEFORE[:2], BEFORE[:2], "2 names for 3 classes"),
        ("same", ("\x1b[2J", "roof", "road"), BEFORE, r"'\\x1b\[2J'"),
    ],
)
def test_classes_that_do_not_fit(rule, before, now, message):
    with pytest.raises(ValueError, match=message):
        choose_rows("run", 3, before, now, rule)


def test_names_of_converted_files():
    assert names_of({"class_set": {"names": [*BEFORE]}}) == BEFORE
    for told in (
        {},
        {"class_set": 3},
        {"class_set": {"names": ["class_0", "class_1"]}},
    ):
        assert names_of(told) == ()


def test_nothing_to_start_from():
    config = default()
    start = start_settings(config)
    assert read_initial(start, BEFORE) is None
    assert with_backbone(config, backbone_of_run(start)) is config
    start = dataclasses.replace(start, classes="any")
    with pytest.raises(ValueError, match=r"got train\.init_classes='any', expected"):
        read_initial(start, BEFORE)


def test_a_folder_that_is_no_run(tmp_path):
    start = dataclasses.replace(start_settings(default()), given=str(tmp_path))
    for step in (backbone_of_run, lambda given: read_initial(given, BEFORE)):
        with pytest.raises(ValueError, match="expected the workdir of a trained run"):
            step(start)
