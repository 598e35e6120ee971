"""`crossearth download NAME…`: weights by name, checked and converted."""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.hub.catalogue import WHOLE, Model, model_of
from crossearth_jax.hub.convert import CROP, convert_named
from crossearth_jax.hub.fetch import fetch
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.whole_file import whole_file

KEYS = {"style": "style.weights"}


def main(argv: Sequence[str]) -> int:
    """`crossearth download NAME… [--dir D] [--no-convert]`."""
    parser = make_parser(
        "crossearth download",
        "Fetches released weights by name, compares their size and digests, and "
        "converts them.\nHF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are taken "
        "as everywhere.",
    )
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="see `crossearth models`")
    add("--dir", type=Path, metavar="D", help="folder of the results, not the cache")
    add("--no-convert", action="store_true", help="the files as they are published")
    add(
        "--crop",
        type=int,
        default=CROP,
        help=f"pixels of a training crop, that DINOv2 is converted for; default {CROP}",
    )
    stopped = "stopped; the same command goes on"
    return guarded(run, parser.parse_args(argv), stopped)


def run(options: argparse.Namespace) -> None:
    """Fetches one model after another."""
    for model in [model_of(name, "") for name in options.names]:
        if options.no_convert:
            for path in _published(model, options.dir):
                print(f"{model.name}: {terminal(path)}", flush=True)
        else:
            place = _converted(model, options.dir, options.crop)
            print(f"{model.name}: {terminal(place)}\n  {use(model)}", flush=True)


def use(model: Model) -> str:
    """The command line that takes a model."""
    if model.kind in WHOLE:
        return f"crossearth predict {model.name} scene.tif --out maps/"
    key = KEYS.get(model.kind, "backbone.weights")
    keys = [each for each in model.settings if "=" in each]
    return " ".join(f"--config.{each}" for each in [f"{key}={model.name}", *keys])


def _converted(model: Model, folder: Path | None, crop: int) -> Path:
    if folder is None:
        return convert_named(model, crop=crop)
    folder.mkdir(parents=True, exist_ok=True)
    return convert_named(model, crop=crop, target=folder / f"{model.name}.safetensors")


def _published(model: Model, folder: Path | None) -> list[Path]:
    """The files of a model as they are published, copied into a folder if given."""
    found = [path for path, _ in fetch(model)]
    if folder is None:
        return found
    copies = []
    (folder / model.name).mkdir(parents=True, exist_ok=True)
    for path in found:
        copies.append(folder / model.name / path.name)
        with whole_file(copies[-1]) as place:
            shutil.copyfile(path, place)
    return copies
