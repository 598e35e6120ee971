"""Raw archives → prepare → two training steps → eval → compare, for all data sets.

The archives are miniatures with the true names, folders and encodings and some odd
files; the configurations are the benchmark's own with the sizes of `tiny.py`.
"""

import importlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import get_config

from crossearth_jax.commands import report as report_command
from crossearth_jax.commands.compare import make_sheets
from crossearth_jax.commands.prepare import DATA_SETS
from crossearth_jax.config import default
from crossearth_jax.data.classes import load_classes
from crossearth_jax.data.prepare import potsdam
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import RUNS
from crossearth_jax.pixels.colour_vision import accessible
from crossearth_jax.train import evaluate_run, train

CONFIGS = Path(__file__).parents[1] / "configs"
TILE = 32  # for 512 and 1024
KEPT = ("name", "data.kind")  # of the benchmark's configuration; tiny has others
# The Rein baseline and one block tapped four times: the full method's step takes three
# times as long to compile, `test_train_step.py` has it.
OVERRIDES = {
    "data.scales": (1.0, 2.0),
    "eval.batch": 8,
    "train.steps": 2,
    "backbone.depth": 1,
    "backbone.taps": (0, 0, 0, 0),
    "gse.enabled": False,
    "mim.enabled": False,
    "style.probability": 0.0,
}

# What is prepared for a run, and the images that are scored for each domain.
CASES = {
    "potsdam_vaihingen_p_irrg": (
        (DATA_SETS["potsdam"], DATA_SETS["vaihingen"]),
        {"potsdam_irrg": 2 * 4, "vaihingen": 4 + 6, "potsdam_rgb": 2 * 4},
    ),
    "potsdam_rescuenet_irrg": (
        (potsdam.data_set(5), DATA_SETS["rescuenet"]),
        {"potsdam5_irrg": 2 * 4, "rescuenet": 2},
    ),
    "loveda_urban": ((DATA_SETS["loveda"],), {"loveda_urban": 1, "loveda_rural": 2}),
    "whu_building_aerial": (
        (DATA_SETS["whu_building"],),
        {"whu_aerial": 2, "whu_satellite": 2},
    ),
    "deepglobe_massachusetts": (
        (DATA_SETS["deepglobe"], DATA_SETS["massachusetts"]),
        {"massachusetts": 2},
    ),
    "casid_sub": (
        (DATA_SETS["casid"],),
        {"sub": 4, "tem": 4, "tms": 4, "trf": 4},
    ),
}
# `crossearth eval` on the checkpoint; training has scored the same one in every case.
SCORED_AGAIN = ("casid_sub", "deepglobe_massachusetts")
ODD = {"casid": {"encoding": "ids from 1"}, "loveda": {"test_set": True}}


pytestmark = pytest.mark.usefixtures("quick_compile")


def flat(config, prefix=""):
    for key, value in config.items():
        if hasattr(value, "items"):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def benchmark_config(run, root):
    """The run's own configuration in the sizes of tiny.py."""
    path = CONFIGS / Path(run.config.partition(":")[0]).name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(*filter(None, [run.argument]))
    usual = dict(flat(default()))
    small = {k: v for k, v in flat(get_config()) if v != usual[k] and k not in KEPT}
    small |= OVERRIDES | {"data.root": str(root)}
    if config.eval.fit:
        small["eval.fit"] = 48
    config.update_from_flattened_dict(small)
    return config


def write_raw(name, folder, monkeypatch):
    """The miniature of a data set as the tests of `prepare` have it, with odd files."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "data/prepare")
    mini = importlib.import_module(f"mini_{name}")
    mini.write_raw(folder, extra=True, **ODD.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_from_raw_archives_to_the_paper_s_table(name, tmp_path, monkeypatch):
    data_sets, images = CASES[name]
    (run,) = [run for run in RUNS if run.name == name]
    for data_set in data_sets:
        raw = tmp_path / "raw" / data_set.name
        write_raw(data_set.name, raw, monkeypatch)
        tile = data_set.tile and TILE
        manifests = prepare(replace(data_set, tile=tile), raw, tmp_path / "root")
        assert manifests

    config, workdir = benchmark_config(run, tmp_path / "root"), tmp_path / "run"
    report = train(config, workdir)
    assert [int(step["step"]) for step in metrics(workdir)] == [1, 2]
    assert all(np.isfinite(step["loss"]) for step in metrics(workdir))
    if name in SCORED_AGAIN:
        (workdir / "report.json").unlink()
        assert evaluate_run(config, workdir) == report
        page = tmp_path / "page.html"
        options = ["--out", str(page), "--palette", "accessible"]
        assert report_command.main([str(workdir), *options]) == 0
        text = page.read_text()
        own = load_classes(workdir / "classes.json").palette
        swatches = [f"background:rgb{colour}" for colour in accessible(own)]
        assert all(swatch in text for swatch in swatches)
        assert (
            "Not shown" not in text and "reconstruction of" not in text
        )  # Rein baseline
        shown = sum(min(n, 3) for n in images.values())
        assert text.count('class="example"') >= shown
    assert report == json.loads((workdir / "report.json").read_text())
    assert {k: v["images"] for k, v in report["domains"].items()} == images

    overview, *sheets = make_sheets([workdir])
    numbers = {tables.setting(key).table for key in run.targets}
    assert len(sheets) == len(numbers) == 1
    for key, domain in run.targets.items():
        (line,) = [x for x in overview.lines if x.setting == key]
        assert line.row == "ours: Rein baseline"
        assert [score.mean for score in line.scores[:2]] == list(
            tables.setting_miou(key)
        )
        entry = report["domains"][domain]
        ours = entry.get("foreground_IoU", entry["mIoU"])
        assert line.scores[2].mean == pytest.approx(100 * ours)
        assert "2 training steps" in " ".join(overview.notes)


def metrics(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_data_set_is_in_a_case():
    prepared = {one.name for data_sets, _ in CASES.values() for one in data_sets}
    assert len(prepared) == 8
