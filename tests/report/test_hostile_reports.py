"""Names of domains become file names: what cannot is refused before anything runs."""

import json

import pytest

from crossearth_jax.config import default
from crossearth_jax.data.folders import NAME_BYTES, check_domain_name, parse_domains
from crossearth_jax.report.check_report import check_report
from crossearth_jax.report.experiments import read_experiment


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x" * 300, "300 characters, expected at most 100"),
        ("ü" * 60, "60 characters"),
        ("..", "plain file name"),
        ("a/b", "plain file name"),
        ("a\\b", "plain file name"),
        ("a\x1b[31m", r"named 'a\\x1b\[31m', expected"),
        ("", "plain file name"),
    ],
)
def test_names_that_no_file_can_have(name, message):
    with pytest.raises(ValueError, match=message):
        check_domain_name(name)


@pytest.mark.parametrize("name", ["..", "x" * 300])
def test_they_are_refused_where_they_are_given(name):
    with pytest.raises(ValueError, match="NAME=IMAGES:LABELS"):
        parse_domains(f"{name}=A/images:A/labels")


def test_the_longest_name_and_a_foreign_one():
    assert check_domain_name("x" * NAME_BYTES) is None
    assert check_domain_name("Île-de-France (été)") is None
    (domain,) = parse_domains(f"{'x' * NAME_BYTES}=A/images:A/labels")
    assert domain.name == "x" * NAME_BYTES


def report(**change):
    share = {"a": 0.5, "b": None}
    entry = {"role": "unseen", "mIoU": 0.5, "IoU": share, "images": 2, "skipped": []}
    return {"classes": ["a", "b"], "domains": {"far": entry | change}, "about": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "<script>"}, "got role '<script>', expected source or unseen"),
        ({"mIoU": "high"}, "got mIoU 'high'"),
        ({"IoU": {"a": 0.5}}, "other classes"),
        ({"images": 1.5}, "got images 1.5"),
        ({"skipped": [1]}, "no list of names"),
        ({"confusion": [[1, 2], [3]]}, "not 2 x 2 counts"),
    ],
)
def test_reports_of_another_shape(tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps(default().to_dict()))
    (tmp_path / "report.json").write_text(json.dumps(report(**change)))
    with pytest.raises(ValueError, match=message) as caught:
        read_experiment(tmp_path)
    assert str(tmp_path / "report.json") in str(caught.value)


def test_a_page_needs_more_than_a_table():
    check_report(report())
    with pytest.raises(ValueError, match="'far': got no mF1, overall_accuracy, conf"):
        check_report(report(), page=True)


@pytest.mark.parametrize("key", ["name", "train.seed", "data.kind", "gse.enabled"])
def test_configurations_of_another_shape(tmp_path, key):
    config = default().to_dict()
    *above, last = key.split(".")
    (config[above[0]] if above else config)[last] = [["x"]]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "report.json").write_text(json.dumps(report()))
    with pytest.raises(ValueError, match=f"without a sound {key}, expected"):
        read_experiment(tmp_path)
