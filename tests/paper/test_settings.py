"""The table of 29 settings, and `crossearth settings`."""

import csv
import io
import sys

import pytest

from crossearth_jax import cli
from crossearth_jax.commands import settings as command
from crossearth_jax.data.known_classes import KNOWN_CLASSES
from crossearth_jax.data.root import PREPARED_BY
from crossearth_jax.paper import tables
from crossearth_jax.paper.settings import RUNS, estimated_hours, run_of

# Domain folders by the names of the paper's Table 1.
DOMAINS = {
    "Potsdam (IRRG)": {"potsdam_irrg", "potsdam5_irrg"},
    "Potsdam (RGB)": {"potsdam_rgb", "potsdam5_rgb"},
    "Vaihingen (IRRG)": {"vaihingen"},
    "RescueNet (RGB)": {"rescuenet"},
    "LoveDA-Urban": {"loveda_urban"},
    "LoveDA-Rural": {"loveda_rural"},
    "Aerial": {"whu_aerial"},
    "Satellite II": {"whu_satellite"},
    "DeepGlobe": {"deepglobe"},
    "Massachusetts": {"massachusetts"},
    "Subtropical Monsoon": {"sub"},
    "Temperate Monsoon": {"tem"},
    "Tropical Monsoon": {"tms"},
    "Tropical Rainforest": {"trf"},
}


def test_the_settings_are_the_papers():
    keys = [key for run in RUNS for key in run.targets]
    assert keys == list(tables.load().settings)
    assert (len(RUNS), len(keys), len(set(keys))) == (14, 29, 29)


def test_domains_and_masks_are_the_papers():
    for run in RUNS:
        for key, target in run.targets.items():
            printed = tables.setting(key)
            assert run.source in DOMAINS[printed.source], key
            assert target in DOMAINS[printed.target], key
            # All settings of a run share its masks, so one run can serve them.
            assert run.styled == (printed.styled.ratio, printed.styled.block), key
            assert run.masked == (printed.masked.ratio, printed.masked.block), key
    assert set.union(*DOMAINS.values()) == PREPARED_BY.keys()


@pytest.mark.parametrize(
    ("key", "classes"),
    [("P(i)2V", "isprs"), ("P(i)2Res", "isprs5"), ("U2R", "loveda"), ("Sub", "casid")],
)
def test_class_sets_have_the_order_of_the_papers_columns(key, classes):
    words = {
        **{"Surf": "surface", "Bldg": "building", "Tree": "tree", "Car": "car"},
        **{"Vegt": "low vegetation", "Clut": "clutter", "Bkgd": "background"},
        **{"Rd": "road", "Wtr": "water", "Barr": "barren", "Frst": "forest"},
        "Agri": "agriculture",
    }
    if classes == "isprs5":
        words["Tree"] = "vegetation"
    columns = tables.setting_group(key).classes
    assert KNOWN_CLASSES[classes].names == tuple(words[c] for c in columns)


def test_which_class_sets_have_extra_scores():
    scored = {
        name: (
            None if c.foreground is None else c.names[c.foreground],
            None if c.clutter is None else c.names[c.clutter],
        )
        for name, c in KNOWN_CLASSES.items()
    }
    assert scored == {
        "isprs": (None, "clutter"),
        "isprs5": (None, None),
        "loveda": (None, None),
        "building": ("building", None),
        "road": ("road", None),
        "casid": (None, None),
    }


def test_estimated_hours_follow_from_the_arithmetic():
    """4.3 TFLOP a step at 512²; attention makes 1024² more than four times that."""
    rate, steps = 0.4 * 800e12, 30_000
    assert estimated_hours(512) == pytest.approx(4.3e12 / rate * steps / 3600, rel=0.01)
    assert 4.5 < estimated_hours(1024) / estimated_hours(512) < 7


def test_an_unknown_run_lists_the_known_ones():
    assert run_of("deepglobe_massachusetts.py").unseen == ("massachusetts",)
    assert run_of("casid.py", "tms").name == "casid_tms"
    with pytest.raises(ValueError, match=r"loveda\.py:moon, .* one of urban, rural"):
        run_of("loveda.py", "moon")


def shown(capsys, *arguments: str) -> str:
    command.main(arguments)
    return capsys.readouterr().out


def test_csv_has_every_setting_with_its_figures(capsys):
    table = list(csv.DictReader(io.StringIO(shown(capsys, "--format", "csv"))))
    assert len(table) == 29
    (row,) = [row for row in table if row["setting"] == "P(r)2V"]
    assert row == {
        "setting": "P(r)2V",
        "source": "potsdam_rgb",
        "target": "vaihingen",
        "gap": "Unseen Region and Spectral Band",
        "config": "configs/potsdam_vaihingen.py:p_rgb",
        "X_S τ/B": "0.3/16",
        "X_M τ/B": "0.7/64",
        "crop": "512",
        "MIM loss": "mse",
        "H100 h": "0.1",
        "Rein": "56.1",
        "CrossEarth": "61.9",
    }


def test_markdown_and_plain_text_show_the_same_cells(capsys):
    cells = [list(row) for row in command.rows()]
    markdown = shown(capsys, "--format", "markdown").splitlines()
    assert [line.strip("| ").split(" | ") for line in markdown[2:31]] == cells
    assert set(markdown[1]) == set("| -:")
    plain = shown(capsys).splitlines()
    words = [" ".join(row).split() for row in cells]
    assert [line.split() for line in plain[2:31]] == words
    assert len({len(line) for line in plain[:31]}) == 1  # aligned
    for text in (markdown, plain):
        assert "not measured" in text[-1]


def test_a_terminal_gets_a_drawn_table(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", Terminal())
    command.main([])
    drawn = sys.stdout.getvalue()
    assert "━" in drawn and "Tem2Trf" in drawn and "0.7/128" in drawn


def test_the_command_and_a_wrong_format(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["crossearth", "settings", "--format", "html"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "invalid choice: 'html'" in capsys.readouterr().err


def test_gaps_are_named_as_table_1_does():
    row = next(row for row in command.rows() if row[0] == "P(r)2V")
    assert row[command.HEADER.index("gap")] == "Unseen Region and Spectral Band"
