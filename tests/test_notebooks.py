"""The notebooks of docs/notebooks, executed cell by cell with a tiny network."""

import os
from pathlib import Path

import jax
import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient")
pytest.importorskip("ipykernel", reason="notebooks need ipykernel")
pytest.importorskip("rasterio", reason="needs the extra geo")

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
OFF = "gse.enabled=False", "mim.enabled=False", "style.probability=0"  # as compile time
TINY = f"--config {ROOT / 'tests' / 'tiny.py'} --config." + " --config.".join(OFF)
# What is made smaller: everything else runs as it is printed.
SMALLER = {
    "first_map": {"--config demo": TINY, "STEPS = 150": "STEPS = 2"},
    "own_scene": {
        "--config folder:small": f"{TINY} --config.data.kind=folder",
        "SIDE = 1024": "SIDE = 512",
        "--size 256": "--size 128",
        "--config.data.crop=128": "--config.data.crop=32",
        "STEPS = 120": "STEPS = 2",
    },
}
MOST = 700_000  # bytes of a notebook with its pictures


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_tested():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SMALLER)


@pytest.mark.parametrize("name", SMALLER)
def test_what_is_kept_is_whole_small_and_of_no_machine(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    numbers = [cell.execution_count for cell in cells]
    assert numbers == list(range(1, len(cells) + 1))  # run from top to bottom, once
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < MOST
    for private in ('"error"', "/tmp/", "/home/", "/root/", "\\u001b"):
        assert private not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLER)
def test_every_cell_runs(name, tmp_path, monkeypatch):
    notebook = read(name)
    left = dict(SMALLER[name])
    for cell in [cell for cell in notebook.cells if cell.cell_type == "code"]:
        for old in [old for old in left if old in cell.source]:
            cell.source = cell.source.replace(old, left.pop(old))
    assert not left
    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv(
        "JAX_COMPILATION_CACHE_DIR", str(jax.config.jax_compilation_cache_dir)
    )
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=place).execute()
    assert (tmp_path / "runs").is_dir()
