"""`crossearth compare`, on reports written by hand."""

import csv
import io
import json
import re

import numpy as np
import pytest

from crossearth_jax import cli
from crossearth_jax.commands.compare import main, make_sheets
from crossearth_jax.config import default, flattened
from crossearth_jax.data.known_classes import (
    BUILDING,
    CASID,
    ISPRS,
    ISPRS5,
    LOVEDA,
)
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import RUNS
from crossearth_jax.report.compare import aggregate, beside_paper
from crossearth_jax.report.experiments import IMMATERIAL, PARTS
from crossearth_jax.report.paper_view import paper_sheet
from crossearth_jax.report.sheet import (
    FORMATS,
    Line,
    Score,
    Sheet,
    as_text,
)

CLASSES = {3: ISPRS, 4: LOVEDA, 5: BUILDING, 6: ISPRS5, 7: CASID}
REIN = {"gse.enabled": False, "mim.enabled": False, "style.probability": 0.0}
TABLE_3 = ("Surf", "Bldg", "Vegt", "Tree", "Car", "Clut", "mIoU", "w/o clutter")


def write_run(place, name, classes, domains, *, step=30_000, **config):
    """A workdir: `domains` is {name: IoUs by class}, the first one the source."""
    keys = default()
    keys.name, keys.data.train = name, f"{{root}}/{next(iter(domains))}/train"
    keys.update_from_flattened_dict(config)
    entries = {}
    for domain, ious in domains.items():
        known = [iou for iou in ious if iou is not None]
        entries[domain] = {
            "role": "unseen" if entries else "source",
            "mIoU": sum(known) / len(known),
            "IoU": dict(zip(classes.names, ious, strict=True)),
            "images": 2,
            "skipped": [],
        }
        if classes.foreground is not None:
            entries[domain]["foreground_IoU"] = ious[classes.foreground]
        if classes.clutter is not None:
            entries[domain]["mIoU_without_clutter"] = sum(ious[:-1]) / (len(ious) - 1)
    report = {"classes": list(classes.names), "domains": entries}
    report |= {"unseen_mean_mIoU": 0.5, "about": {"name": name, "step": step}}
    place.mkdir()
    (place / "config.json").write_text(json.dumps(keys.to_dict()))
    (place / "report.json").write_text(json.dumps(report))
    return place


def ious(*percent):
    return [p / 100 for p in percent]


def line(sheet, setting, row):
    (found,) = [x for x in sheet.lines if (x.setting, x.row.strip()) == (setting, row)]
    return dict(zip(sheet.columns, found.scores, strict=True))


def means(scores):
    return {name: score and round(score.mean, 6) for name, score in scores.items()}


@pytest.fixture
def potsdam(tmp_path):
    """Two seeds of the full method and one of the baseline, P(r) to V and P(i)."""
    name = "potsdam_vaihingen_p_rgb"
    v = [ious(80, 90, 50, 70, 60, 10), ious(82, 90, 54, 70, 60, 30)]
    same = ious(1, 2, 3, 4, 5, 6)
    runs = [
        write_run(
            tmp_path / f"seed{seed}",
            name,
            ISPRS,
            {"potsdam_rgb": same, "vaihingen": v[seed], "potsdam_irrg": same},
            **{"train.seed": seed, "data.root": f"disk{seed}"},
        )
        for seed in (0, 1)
    ]
    domains = {"potsdam_rgb": same, "vaihingen": ious(70, 90, 40, 60, 50, 10)}
    runs.append(write_run(tmp_path / "rein", name, ISPRS, domains, step=20, **REIN))
    return runs


def test_aggregate_is_the_sample_standard_deviation():
    score = aggregate([0.5, 0.6, None, 0.75])
    values = [50, 60, 75]
    assert score.n == 3
    assert score.mean == pytest.approx(np.mean(values))
    assert score.std == pytest.approx(np.std(values, ddof=1))
    assert aggregate([0.5]) == Score(50.0, None, 1)
    assert aggregate([None, None]) is None


def test_seeds_become_one_row_beside_the_paper(potsdam):
    overview, table = make_sheets(potsdam)
    assert table.columns == TABLE_3
    full = line(table, "P(r)2V", "ours: CrossEarth, n = 2")
    expected = dict(zip(TABLE_3, (81, 90, 52, 70, 60, 20, 373 / 6, 70.6), strict=True))
    assert means(full) == pytest.approx(expected, abs=1e-5)
    assert full["Surf"].std == pytest.approx(np.std([80, 82], ddof=1))
    assert full["Bldg"].std == pytest.approx(0, abs=1e-9)
    paper = line(table, "P(r)2V", "Rein, paper")
    assert means(paper)["Clut"] == 5.7
    assert means(paper)["w/o clutter"] == pytest.approx(330.6 / 5)
    pairs = {
        "Rein, paper": (79.1, 56.1),
        "CrossEarth, paper": (78.1, 61.9),
        "ours: Rein baseline": (70, 320 / 6),
    }
    lines = [x for x in table.lines if x.setting == "P(r)2V"]
    start = [x.row for x in lines].index("ours: CrossEarth, n = 2")
    for difference, (who, (surf, miou)) in zip(
        lines[start + 1 :], pairs.items(), strict=False
    ):
        assert difference.row.strip() == f"difference to {who}"
        found = dict(zip(table.columns, difference.scores, strict=True))
        assert found["Surf"].mean == pytest.approx(81 - surf)
        assert found["mIoU"].mean == pytest.approx(373 / 6 - miou)
        assert found["mIoU"].signed
    ours = line(overview, "P(r)2V", "ours: CrossEarth, n = 2")
    assert ours["- CrossEarth"].mean == pytest.approx(373 / 6 - 61.9)


def test_settings_that_were_not_run_say_so(potsdam):
    overview, table = make_sheets(potsdam)
    not_run = {x.setting for x in overview.lines if x.note == "not run"}
    assert not_run == {"P(i)2V", "P(i)2P(r)", "V2P(i)", "V2P(r)"}
    assert not_run == {x.setting for x in table.lines if x.note == "not run"}
    rows = [x.row for x in table.lines if x.setting == "P(r)2P(i)"]
    assert not any("Rein baseline" in row for row in rows)  # it did not score it
    everything = make_sheets(potsdam, [3, 4, 5, 6, 7])[0].lines
    assert len({x.setting for x in everything}) == 29


def test_notes_name_misprints_and_short_runs(potsdam):
    _, table = make_sheets(potsdam)
    notes = "\n".join(table.notes)
    assert "P(r)2P(i), Rein (Baseline): misprint, mean 76.3, expected 75.5" in notes
    assert "Rein baseline: 20 training steps; the paper has 30000." in notes
    assert "CrossEarth: 30000" not in notes
    assert "CrossEarth: mean of 2 runs, seeds 0, 1; the paper prints one" in notes
    assert "Rein baseline: mean of" not in notes
    assert "±" in notes


def test_what_differs_but_the_seed_stands_in_the_name(tmp_path):
    domains = {"loveda_urban": [0.5] * 7, "loveda_rural": [0.25] * 7}
    for name, config in {
        "a": {},
        "b": {"style.ratio": 0.3},
        "c": {"mim.enabled": False, "train.seed": 1},
        "d": {"style.ratio": 0.3, "train.seed": 5, "data.threads": 7},
        "e": {"style.ratio": 0.3},
    }.items():
        write_run(tmp_path / name, "loveda_urban", LOVEDA, domains, **config)
    sheets = make_sheets([tmp_path / name for name in "abcde"])
    rows = {x.row for x in sheets[1].lines if x.row.startswith("ours: ")}
    assert rows == {
        "ours: CrossEarth (style.ratio=0.7)",
        "ours: CrossEarth (style.ratio=0.3), n = 3",
        "ours: CrossEarth without MIM",
    }
    assert any("a seed appears twice" in note for note in sheets[1].notes)
    with pytest.raises(ValueError, match=r"got the workdir .* twice"):
        make_sheets([tmp_path / "a", tmp_path / "a"])


def test_binary_sets_compare_the_foreground(tmp_path):
    domains = {"whu_aerial": [0.9, 0.6], "whu_satellite": [0.98, 0.4]}
    run = write_run(tmp_path / "run", "whu_building_aerial", BUILDING, domains)
    overview, table = make_sheets([run])
    assert means(line(table, "A2S", "ours: CrossEarth")) == {
        "IoU": 40.0,
        "mIoU of both classes": 69.0,
    }
    assert means(line(overview, "A2S", "ours: CrossEarth"))["- Rein"] == 9.2


def test_every_setting_of_every_configuration_has_its_place(tmp_path):
    settings = tables.load().settings
    places = []
    for run in RUNS:
        classes = CLASSES[settings[next(iter(run.targets))].table]
        domains = dict.fromkeys((run.source, *run.targets.values()))
        values = {
            d: [0.01 * (k + 1)] * len(classes.names) for k, d in enumerate(domains)
        }
        places.append(write_run(tmp_path / run.name, run.name, classes, values))
    overview, *sheets = make_sheets(places)
    assert [x.setting for x in overview.lines] == list(settings)
    assert not [x for x in overview.lines if x.note]
    shown = {x.setting: x.scores[2].mean for x in overview.lines}
    for run in RUNS:
        order = list(dict.fromkeys((run.source, *run.targets.values())))
        for key, domain in run.targets.items():
            assert shown[key] == pytest.approx(order.index(domain) + 1)
    assert len(sheets) == 5


def test_keys_that_runs_are_grouped_by_exist():
    keys = {key for key, _ in flattened(default().to_dict())}
    assert keys >= IMMATERIAL | set(PARTS.values())


def test_the_demo_is_laid_out_as_casid_without_the_papers_rows(tmp_path):
    domains = {d: [0.5] * 5 for d in ("sub", "tem", "tms", "trf")}
    drawn = {"data.kind": "synthetic"}
    full = write_run(tmp_path / "full", "demo", CASID, domains, step=400, **drawn)
    base = write_run(
        tmp_path / "rein", "demo_rein", CASID, domains, step=400, **drawn, **REIN
    )
    (sheet,) = make_sheets([full, base])
    assert sheet.columns == ("Bkgd", "Bldg", "Frst", "Rd", "Wtr", "mIoU")
    settings = list(dict.fromkeys(x.setting for x in sheet.lines))
    assert settings == ["Sub", "Sub2Tem", "Sub2Tms", "Sub2Trf"]
    rows = [x.row.strip() for x in sheet.lines if x.setting == "Sub2Tms"]
    assert rows == [
        "ours: CrossEarth",
        "difference to ours: Rein baseline",
        "ours: Rein baseline",
    ]
    assert "drawn scenes, not CASID" in sheet.title
    assert not beside_paper(sheet)  # the paper never scored a drawn scene


def test_a_run_of_ones_own_stands_alone(tmp_path):
    domains = {"here": [0.5, None], "there": [0.25, 0.75]}
    run = write_run(tmp_path / "run", "folder", BUILDING, domains, step=7)
    (sheet,) = make_sheets([run])
    assert sheet.title.startswith("folder") and "no setting of the paper" in sheet.title
    assert means(line(sheet, "here", "ours: CrossEarth")) == {
        "background": 50.0,
        "building": None,
        "mIoU": 50.0,
    }


def test_the_paper_alone_with_means_recomputed_and_misprints_flagged():
    sheets = make_sheets([])
    assert len(sheets) == 5
    table = sheets[0]
    shown = line(table, "P(r)2P(i)", "Rein (Baseline)")
    assert (shown["mIoU"].mean, round(shown["mean of classes"].mean, 2)) == (
        76.3,
        75.48,
    )
    flagged = [(x.setting, x.row) for x in table.lines if x.note]
    assert flagged == [
        ("P(i)2V", "MTP"),
        ("P(r)2P(i)", "Rein (Baseline)"),
        ("V2P(r)", "MTP"),
    ]
    assert [x.setting for x in paper_sheet(11).lines if x.note] == [
        "Sub2Tem",
        "Sub2Tms",
        "Sub2Trf",
    ]
    with pytest.raises(ValueError, match=r"got table 15, expected one of 3, 4, "):
        make_sheets([], [15])


def test_formats_and_files(potsdam, tmp_path, capsys, monkeypatch):
    given = [str(place) for place in potsdam]
    monkeypatch.setattr("sys.argv", ["crossearth", "compare", *given])
    assert cli.main() == 0
    assert "81.0 ± 1.4" in capsys.readouterr().out
    out = tmp_path / "tables" / "ours.csv"
    main([*given, "--format", "csv", "--out", str(out)])
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    (surf,) = [
        row
        for row in rows
        if (row["setting"], row["score"]) == ("P(r)2V", "Surf")
        and row["row"] == "ours: CrossEarth, n = 2"
    ]
    assert (float(surf["mean"]), surf["n"]) == (81.0, "2")
    assert float(surf["std"]) == pytest.approx(2**0.5)
    main([*given, "--format", "markdown"])
    printed = capsys.readouterr().out
    tables = re.findall(r"(?m)(?:^\|.*\|\n)+", printed)
    assert len(tables) == 2
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_text_is_aligned_and_escaped():
    lines = (
        Line("a|b", "x", (Score(1.25, 0.5, 2), None)),
        Line("a|b", "y", (Score(-3.0, signed=True), Score(10.0)), note="so"),
    )
    sheet = Sheet("title", ("first", "2"), lines, ("below",))
    text = as_text([sheet]).splitlines()
    assert text == [
        "title",
        "",
        "setting  row      first     2  note",
        "-----------------------------",
        "a|b      x    1.2 ± 0.5     -",
        "         y         -3.0  10.0  so",
        "",
        "below",
    ]
    assert "| a\\|b | x | 1.2 ± 0.5 | - |  |" in FORMATS["markdown"]([sheet])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "report.json").unlink(), "got no report.json in .*eval"),
        (lambda run: (run / "config.json").unlink(), "got no config.json"),
        (lambda run: (run / "report.json").write_text("{"), "expected JSON"),
        (lambda run: (run / "report.json").write_text("[]"), "a JSON object"),
        (lambda run: (run / "report.json").write_text("{}"), "no scored domain"),
        (lambda run: (run / "config.json").write_text("{}"), "without .*train.seed"),
    ],
)
def test_a_workdir_that_is_none_is_one_clear_error(potsdam, spoil, message, capsys):
    spoil(potsdam[0])
    with pytest.raises(ValueError, match=message):
        make_sheets(potsdam)
    assert main([str(potsdam[0])]) == 1
    assert capsys.readouterr().err.startswith("error: got ")


def test_errors_of_classes_and_tables(tmp_path, potsdam):
    domains = {"sub": [0.5] * 2, "tem": [0.5] * 2}
    run = write_run(tmp_path / "run", "casid_sub", BUILDING, domains)
    with pytest.raises(ValueError, match=r"got 2 classes .* expected the 5 of Table 7"):
        make_sheets([run])
    with pytest.raises(ValueError, match="got --table 9, expected 3 to 7"):
        make_sheets(potsdam, [9])


def test_table_14_is_printed_without_runs():
    (sheet,) = make_sheets([], [14])
    line = next(line for line in sheet.lines if line.setting == "A2S")
    assert [score.mean for score in line.scores] == [50, 16, 70, 64]
    assert len(sheet.lines) == 29
