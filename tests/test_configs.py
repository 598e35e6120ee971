"""Every file in configs/, with every argument, builds a usable configuration."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from PIL import Image

from crossearth_jax import build
from crossearth_jax.build_data import build_data
from crossearth_jax.config import default
from crossearth_jax.data.known_classes import KNOWN_CLASSES
from crossearth_jax.data.root import prepare_command
from crossearth_jax.models.families import VARIANTS
from crossearth_jax.paper.settings import RUNS, estimated_hours
from crossearth_jax.paper.tables import setting_miou
from crossearth_jax.run_settings import read_settings

FOLDER = Path(__file__).parents[1] / "configs"


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"configs_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(path: Path) -> list[str]:
    """The arguments that a file accepts, as its own error lists them."""
    get_config = load(path).get_config
    if not inspect.signature(get_config).parameters:
        return []
    with pytest.raises(ValueError, match=f"got {path.name}:nothing") as error:
        get_config("nothing")
    listed = str(error.value).split("expected")[1].removeprefix(" one of")
    return re.findall(r"\w+(?:,\w+)*", re.sub(r"\bor\b", "", listed))


CASES = [
    (path, argument)
    for path in sorted(FOLDER.glob("*.py"))
    for argument in ["", *arguments(path)]
]


def make(path: Path, argument: str) -> ConfigDict:
    return load(path).get_config(*([argument] if argument else []))


def keys(config: ConfigDict, prefix: str = "") -> set[str]:
    return {
        name
        for key, value in config.items()
        for name in (
            keys(value, f"{prefix}{key}.")
            if isinstance(value, ConfigDict)
            else {prefix + key}
        )
    }


def test_the_expected_files_are_there():
    names = {path.stem for path, _ in CASES}
    assert names == {"demo", "folder"} | {Path(run.file).stem for run in RUNS}


@pytest.mark.parametrize(
    ("path", "argument"), CASES, ids=[f"{p.name}:{a}" for p, a in CASES]
)
def test_config_is_locked_complete_and_resolves(path, argument):
    config = make(path, argument)
    assert config.is_locked
    with pytest.raises(AttributeError, match="Did you mean"):
        config.train.stepz = 1
    assert keys(config) == keys(default())
    assert {"train.steps", "train.batch_size", "train.seed", "data.root"} <= keys(
        config
    )
    assert re.fullmatch(r"[\w.-]+", config.name)  # names the run's folder
    read_settings(config)
    build.build_schedule(config)
    classes = config.data.classes
    assert classes is None or classes in KNOWN_CLASSES
    # Twice the patch: the coarsest stage map halves the token grid.
    assert config.data.crop % (2 * config.backbone.patch_size) == 0
    assert config.optim.decay_steps > config.optim.warmup_steps
    assert config.train.steps < config.optim.decay_steps


def scored(data: ConfigDict, role: str) -> dict[str, str]:
    """{domain: its folder} as the configuration has them."""
    text = data[role] or ""
    return dict(part.split("=") for part in text.split(",") if part)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_of_the_benchmark_is_its_row_of_the_table(run):
    """Folders as `crossearth prepare` writes them; Table 14's masks."""
    config = make(FOLDER / run.file, run.argument)
    data, style, mim = config.data, config.style, config.mim
    assert config.name == run.name
    assert data.train == f"{{root}}/{run.source}/train"
    source, unseen = scored(data, "source"), scored(data, "unseen")
    assert source.keys() | unseen.keys() >= set(run.targets.values())
    assert tuple(unseen) == run.unseen and run.unseen
    assert tuple(source) == ((run.source,) if run.source != "deepglobe" else ())
    for domain, folder in {**source, **unseen}.items():
        split = folder.removeprefix(f"{{root}}/{domain}/")
        assert split in ("val", "test")
        assert folder != data.train
    assert ((style.ratio, style.block), (mim.ratio, mim.block)) == (
        run.styled,
        run.masked,
    )
    assert (data.crop, mim.loss, data.encoding) == (run.crop, run.mim_loss, "ids")
    assert data.classes in KNOWN_CLASSES
    assert not config.backbone.trainable
    assert config.train.steps == 30_000 and config.train.batch_size == 1
    assert config.eval.fit == (512 if "rescuenet" in unseen else None)


def needs_none(path: Path) -> bool:
    """Whether a file without an argument is a configuration of its own."""
    parameters = inspect.signature(load(path).get_config).parameters.values()
    return all(parameter.default == "" for parameter in parameters)


def test_every_argument_of_a_benchmark_file_is_a_run():
    arguments_of = {
        (path.name, argument)
        for path, argument in CASES
        if path.stem not in ("demo", "folder") and (argument or needs_none(path))
    }
    runs = {(run.file, run.argument) for run in RUNS}
    variants = "mtp", "official", "mtp,baseline", "mtp,official"
    assert arguments_of == runs | {("deepglobe_massachusetts.py", x) for x in variants}


def test_mtp_is_the_same_run_on_another_backbone():
    """Table 10."""
    path = FOLDER / "deepglobe_massachusetts.py"
    ours, theirs = (make(path, argument) for argument in ("", "mtp"))
    assert theirs.backbone.variant in VARIANTS
    assert theirs.workdir != ours.workdir
    theirs.backbone.variant, theirs.workdir = ours.backbone.variant, ours.workdir
    assert theirs == ours


@pytest.mark.parametrize("file", sorted({run.file for run in RUNS}))
def test_docstrings_say_what_the_data_say(file):
    """Scores, masks, crop and hours stand in prose and are checked, not copied."""
    text = " ".join(load(FOLDER / file).__doc__.split())
    runs = [run for run in RUNS if run.file == file]
    printed = {
        key: "→".join(f"{x:.1f}" for x in setting_miou(key))
        for run in runs
        for key in run.targets
    }
    assert dict(re.findall(r"(\S+) (\d+\.\d→\d+\.\d)", text)) == printed
    masks = re.findall(r"X_S (\d\.\d)/(\d+), X_M (\d\.\d)/(\d+)", text)
    assert [tuple(map(float, row)) for row in masks] == [
        (*run.styled, *run.masked) for run in runs
    ]
    (crop,) = {run.crop for run in runs}
    assert f"30,000 steps of one {crop}² crop" in text
    assert f"about {estimated_hours(crop):.1f} hours on one H100" in text
    assert "an estimate, not a measurement" in text
    commands = {
        prepare_command(domain)
        for run in runs
        for domain in (run.source, *run.targets.values())
    }
    assert set(re.findall(r"crossearth prepare .*? --out ROOT", text)) == commands
    assert f"--config {runs[0].config} " in text


def test_paper_settings():
    """Table 14 and section 5.1 by hand, for a row of each kind."""

    def found(config):
        style, mim = config.style, config.mim
        return (style.ratio, style.block, mim.ratio, mim.block, mim.loss)

    for argument, expected in {
        "potsdam_vaihingen.py:p_rgb": (0.3, 16, 0.7, 64, "mse"),
        "deepglobe_massachusetts.py:": (0.3, 16, 0.5, 16, "mse"),
        "whu_building.py:satellite": (0.5, 16, 0.7, 16, "mse"),
        "casid.py:tem": (0.1, 64, 0.7, 128, "l1"),
        "casid.py:trf": (0.5, 64, 0.7, 64, "l1"),
    }.items():
        file, _, argument = argument.partition(":")
        assert found(make(FOLDER / file, argument)) == expected


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_missing_data_name_the_command(run, tmp_path):
    config = make(FOLDER / run.file, run.argument)
    with pytest.raises(ValueError, match=r"data\.root") as error:
        build_data(read_settings(config).data)
    for domain in (run.source, *run.unseen):
        assert f"\n  {prepare_command(domain)}" in str(error.value)
    (tmp_path / run.source / "train").mkdir(parents=True)
    config.data.root = str(tmp_path)
    with pytest.raises(ValueError) as error:
        build_data(read_settings(config).data)
    message = str(error.value)
    assert f"{tmp_path}/{run.unseen[0]}/" in message
    assert f"{tmp_path}/{run.source}/train" not in message
    assert f"\n  {prepare_command(run.unseen[0], str(tmp_path))}" in message


def test_prepared_data_are_found(tmp_path):
    """Miniature folders of a run with a fitted domain, down to the records."""
    config = make(FOLDER / "potsdam_rescuenet.py", "rgb")
    config.data.root = str(tmp_path)
    for domain, split in (
        ("potsdam5_rgb", "train"),
        ("potsdam5_rgb", "val"),
        ("rescuenet", "val"),
    ):
        for kind, mode in (("images", "RGB"), ("labels", "L")):
            folder = tmp_path / domain / split / kind
            folder.mkdir(parents=True)
            Image.new(mode, (8, 6)).save(folder / "a.png")
    data = build_data(read_settings(config).data)
    assert data.classes is KNOWN_CLASSES["isprs5"] and len(data.train) == 1
    roles = [(domain.name, domain.role, domain.fit) for domain in data.domains]
    assert roles == [("potsdam5_rgb", "source", 512), ("rescuenet", "unseen", 512)]
    Image.new("L", (6, 8)).save(tmp_path / "rescuenet/val/labels/a.png")
    with pytest.raises(ValueError, match=r"rescuenet/val/labels/a.png: got a label of"):
        build_data(read_settings(config).data)
    config.data.check_headers = False
    build_data(read_settings(config).data)


@pytest.mark.parametrize(
    ("name", "workdir"),
    [
        ("casid.py:tms,official", "runs/casid_tms_official"),
        ("loveda.py:rural,official", "runs/loveda_rural_official"),
        (
            "deepglobe_massachusetts.py:official",
            "runs/deepglobe_massachusetts_official",
        ),
        (
            "deepglobe_massachusetts.py:mtp,official",
            "runs/deepglobe_massachusetts_mtp_official",
        ),
    ],
)
def test_the_authors_recipe_is_a_variant(name, workdir):
    config = named(name)
    optim = config.optim
    assert (optim.lr, optim.warmup_steps, optim.decay_steps) == (6e-5, 10_000, 40_000)
    assert config.workdir == workdir
    plain = named(name.replace(",official", "").replace(":official", ""))
    assert plain.optim.lr == 1e-4 and plain.name == config.name


def test_mtp_has_a_baseline_of_its_own():
    config = named("deepglobe_massachusetts.py:mtp,baseline")
    assert config.backbone.variant == "rvsa_large"
    assert not config.gse.enabled and not config.mim.enabled
    assert config.style.probability == 0


def named(config: str) -> ConfigDict:
    """As `--config` takes it, without the folder."""
    file, _, argument = config.partition(":")
    return make(FOLDER / file, argument)
