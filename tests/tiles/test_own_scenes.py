"""The commands of docs/own_scenes.md, on scenes drawn here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from labelled import GRID, manifest, polygons, rect
from rasters import write

from crossearth_jax import cli, config_file
from crossearth_jax.commands.parser import split_changes

ROOT = Path(__file__).parents[2]
PAGES = ("docs/own_scenes.md", "README.md")


def commands(page, name):
    """Arguments of the commands of a page's code."""
    text = (ROOT / page).read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [
        shlex.split(line)[2:]
        for line in lines
        if line.startswith(f"crossearth {name} ")
    ]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """scene.tif of 16 bits and four bands, and houses.gpkg in degrees."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = rng.normal(900, 60, (4, 2048, 2048))
    shapes = []
    for x, y in rng.integers(0, 1990, (200, 2)):
        values[:, y : y + 40, x : x + 50] = 2500
        shapes.append(rect(x, y, x + 50, y + 40))
    write("scene.tif", values.astype(np.uint16), **GRID)
    polygons("houses.gpkg", shapes, "EPSG:4326")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_the_tiles_of_the_page(drawn, page, capsys):
    (line,) = commands(page, "tiles")
    assert cli.main(["tiles", *line]) == 0
    found = manifest(drawn / "tiles")
    assert found["classes"] == ["background", "building"]
    assert found["scenes"]["bands"] == [3, 2, 1]
    assert set(found["sources"][0]["tiles"]) == {"train", "val"}
    assert "scene.tif: 16 tiles" in capsys.readouterr().out


def test_the_other_commands_are_spelled_right():
    for line in commands(PAGES[0], "train"):
        changes, rest = split_changes(line)
        config = config_file.parse(rest[rest.index("--config") + 1], changes)
        assert str(config.data.root) == "tiles"
    from crossearth_jax.commands.predict_options import predict_parser

    for line in commands(PAGES[0], "predict"):
        assert predict_parser().parse_args(line).out == "maps"
