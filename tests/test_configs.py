"""Every file in configs/, with every argument, builds a usable configuration."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from crossearth_jax import build
from crossearth_jax.config import default
from crossearth_jax.data.datasets import parse_domain, parse_domains

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
    return re.findall(r"\w+", re.sub(r"\bor\b", "", listed))


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
    assert names >= {"demo", "folder", "casid"}
    assert ("casid", "trf") in {(path.stem, argument) for path, argument in CASES}


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
    build.build_objective(config)
    build.build_schedule(config)
    build.build_augment(config)
    classes = config.data.classes
    assert classes is None or classes in build.KNOWN_CLASSES
    # Twice the patch: the coarsest stage map halves the token grid.
    assert config.data.crop % (2 * config.backbone.patch_size) == 0
    assert config.optim.decay_steps > config.optim.warmup_steps
    assert config.train.steps < config.optim.decay_steps


@pytest.mark.parametrize(
    ("path", "argument"),
    [(p, a) for p, a in CASES if make(p, a).data.train],
    ids=lambda x: getattr(x, "name", x),
)
def test_folders_resolve_below_the_root(path, argument):
    config = make(path, argument)
    with pytest.raises(ValueError, match=r"data\.root"):
        build.build_data(config)
    data, root = config.data, Path("/data/set")
    train = parse_domain(data.train.replace("{root}", str(root)))
    scored = parse_domains(
        ",".join(d for d in (data.source, data.unseen) if d).replace(
            "{root}", str(root)
        )
    )
    for domain in (train, *scored):
        for folder in (f for pair in domain.folders for f in pair):
            assert root in folder.parents
    assert not set(train.folders) & {f for d in scored for f in d.folders}


def test_paper_settings_of_casid():
    """Table 14: τ and B of the masks; L1 and 1024² crops (method.md 7, 9)."""
    masks = {
        name: (c.style.ratio, c.style.block, c.mim.ratio, c.mim.block)
        for name in ("sub", "tem", "tms", "trf")
        for c in [make(FOLDER / "casid.py", name)]
    }
    assert masks == {
        "sub": (0.1, 64, 0.7, 64),
        "tem": (0.1, 64, 0.7, 128),
        "tms": (0.1, 64, 0.7, 64),
        "trf": (0.5, 64, 0.7, 64),
    }
    config = make(FOLDER / "casid.py", "")
    assert (config.mim.loss, config.data.crop) == ("l1", 1024)
    assert not config.backbone.trainable
