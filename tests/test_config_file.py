"""Configuration files and keys: what is found, changed, refused and explained."""

import re
from pathlib import Path

import pytest

from crossearth_jax import config, config_file, config_keys

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["demo", "demo.py", "configs/demo.py", "configs/demo", "./configs/demo.py"]
)
def test_the_users_file_comes_first_and_then_the_packaged(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_file.find(name) == config_file.packaged() / "demo.py"
    own = tmp_path / "configs" / "demo.py"
    own.parent.mkdir()
    own.touch()
    assert config_file.find(name).resolve() == own
    (tmp_path / "demo.py").touch()  # as given
    expected = tmp_path / "demo.py" if name == "demo.py" else own
    assert config_file.find(name).resolve() == expected


@pytest.mark.parametrize(
    "name", ["nothing", "other/demo.py", "/demo.py", "demo.txt", ""]
)
def test_a_name_that_is_nowhere_lists_the_packaged(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.txt").touch()
    with pytest.raises(ValueError, match=r"got --config .* one of casid, deepglobe"):
        config_file.find(name)


def test_a_configuration_with_argument_and_changes():
    changed = config_file.parse(
        "casid:tem",
        [
            *("--config.train.steps=7", "--config.optim.lr=1e-3"),
            *("--config.gse.enabled", "--noconfig.mim.enabled"),
            *("--config.data.flip=false", "--config.data.root=/data"),
            *("--config.data.scales=(1.0, 2.0)", "--config.backbone.width=64"),
            *("--config.train.steps=8",),  # the last one counts
        ],
    )
    assert changed.name == "casid_tem" and changed.is_locked
    assert (changed.train.steps, changed.optim.lr) == (8, 1e-3)
    assert changed.gse.enabled and not changed.mim.enabled and not changed.data.flip
    assert changed.data.root == "/data" and changed.backbone.width == 64
    assert changed.data.scales == (1.0, 2.0)
    assert config_file.parse("casid:tem").train.steps == 30_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "--config.train.stepz=3",
            r"unknown configuration key, .* such as train\.steps",
        ),
        ("--config.steps=3", r"unknown configuration key, .* such as train\.steps"),
        ("--config.train.steps.more=3", r"unknown .* such as train\.steps"),
        ("--config.zzzz=3", "unknown configuration key, expected one: `crossearth"),
        ("--config.train.steps=many", "=many, expected int, such as 400"),
        ("--config.train.steps=1.5", "=1.5, expected int, such as 400"),
        ("--config.backbone.width=x", "=x, expected int$"),
        ("--config.gse.enabled=maybe", "=maybe, expected bool, such as True"),
        ("--config.train.steps", "expected --config.train.steps=VALUE"),
        ("--noconfig.train.steps", "expected --config.train.steps=VALUE"),
        ("--config.train=3", "expected --config.train.KEY=VALUE"),
        ("--config.=3", "expected --config.KEY=VALUE"),
    ],
)
def test_a_change_that_does_not_fit_is_one_line(change, message):
    with pytest.raises(ValueError, match=message) as error:
        config_file.parse("demo", ["--config.train.batch_size=2", change])
    assert str(error.value).startswith(f"got {change}")
    assert "\n" not in str(error.value)


DEFAULT = "from crossearth_jax.config import default\ndef get_config():\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "without get_config"),
        ("def get_config():\n    return 3\n", "got int from get_config"),
        ("def get_config(:\n", r"an error in .*own\.py, line 1: SyntaxError: "),
        ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named"),
        (
            f"{DEFAULT}    c = default()\n    c.train.stepz = 3\n    return c\n",
            'line 4: AttributeError: .*Did you mean "steps"',
        ),
        (f"{DEFAULT}    raise ValueError('its own words')\n", "^its own words$"),
    ],
    ids=["none", "type", "syntax", "import", "key", "own words"],
)
def test_an_error_in_a_file_names_its_line(text, message, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        config_file.parse(str(path))
    assert "\n" not in str(error.value)


def test_an_argument_that_a_file_does_not_take(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(f"{DEFAULT}    return default()\n")
    assert config_file.parse(str(path)).name == "crossearth"
    with pytest.raises(ValueError, match=r"own\.py:sub, expected no argument"):
        config_file.parse(f"{path}:sub")


def test_every_key_has_a_meaning():
    keys = [key for key, _ in config.flattened(config.default().to_dict())]
    meanings = config_keys.meanings()
    assert sorted(meanings) == sorted(keys)
    assert not [key for key, meaning in meanings.items() if len(meaning) < 5]
    assert meanings["train.fsdp"] == "devices that share one copy of the frozen weights"
    assert meanings["train.on_nan"].endswith('`crossearth replay`, or "skip" the step')


@pytest.mark.parametrize("columns", ["60", "100"])
def test_the_listing_shows_every_key_with_its_default(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    listing = config_keys.listing()
    assert max(map(len, listing.splitlines())) <= 80 + (columns == "100") * 20
    for key, default in config.flattened(config.default().to_dict()):
        shown = re.search(rf"^  {re.escape(key)}\s+\[(.*?)\] ", listing, re.M | re.S)
        assert "".join(shown[1].split()) == "".join(repr(default).split()), key
    for section in ("data", "backbone", "optim", "eval"):
        assert re.search(rf"^{section}: \w", listing, re.M)
    assert "section" not in listing  # of method.md, which no user has
