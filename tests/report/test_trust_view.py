"""The section on trust, and files that are not what `crossearth trust` writes."""

import json

import numpy as np
import pytest
from PIL import Image

from crossearth_jax.report.trust_view import (
    NAME,
    PICTURE,
    read_least_trusted,
    read_trust,
    trust_section,
)

BINS = {"pixels": [3, 5], "right": [1, 4], "total": [0.9, 4.1]}
DOMAIN = {
    "estimated_accuracy": 0.7,
    "low": 0.6,
    "high": 0.8,
    "overall_accuracy": None,
    "estimated_mIoU": 0.55,
    "mIoU": 0.5,
    "distance": 0.25,
    "outside": None,
}


def content(**changes):
    reliability = {"before": BINS, "after": BINS}
    return {"domains": {"far <b>": DOMAIN}, "reliability": reliability} | changes


def written(folder, what):
    (folder / NAME).write_text(json.dumps(what))
    return folder


def test_the_section_has_expected_and_true_values(tmp_path):
    found = read_trust(written(tmp_path, content()))
    section = trust_section(found, "data:image/webp;base64,x")
    assert "far &lt;b&gt;" in section and "<b>" not in section
    for value in ("70.0", "60.0 to 80.0", "55.0", "50.0", "0.25"):
        assert f">{value}<" in section, value
    assert section.count("<svg") == 2 and "least trusted windows" in section


def test_without_a_file_there_is_no_section(tmp_path):
    assert read_trust(tmp_path) is None and trust_section(None) == ""
    assert read_least_trusted(tmp_path) == ""


@pytest.mark.parametrize(
    "what",
    [
        [],
        {"domains": []},
        content(domains={"a": 1}),
        content(domains={"a": DOMAIN | {"low": 7}}),
        content(domains={"a": DOMAIN | {"distance": "far"}}),
        content(domains={f"{i}": DOMAIN for i in range(1001)}),
        content(reliability=[]),
        content(reliability={"before": BINS}),
        content(reliability={"before": BINS, "after": BINS | {"right": [1]}}),
        content(reliability={"before": BINS, "after": BINS | {"right": [1, "2"]}}),
    ],
)
def test_other_content_is_one_line(tmp_path, what):
    with pytest.raises(ValueError, match="run `crossearth trust` again"):
        read_trust(written(tmp_path, what))


def test_the_picture_travels_in_the_page(tmp_path):
    (tmp_path / PICTURE).parent.mkdir()
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(tmp_path / PICTURE)
    assert read_least_trusted(tmp_path).startswith("data:image/webp;base64,")
    (tmp_path / PICTURE).write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="cannot be shown"):
        read_least_trusted(tmp_path)
