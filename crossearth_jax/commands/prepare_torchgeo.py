"""`crossearth prepare torchgeo`: the command line of the exporter."""

import argparse
import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossearth_jax.commands.parser import add_traceback

TORCHGEO = "torchgeo"


def add_torchgeo(sets: Any) -> None:
    """Adds the exporter to the data sets that `prepare` knows.

    Args:
      sets: the parsers of all data sets.
    """
    parser = sets.add_parser(
        TORCHGEO,
        help="any segmentation data set of TorchGeo",
        description="Exports a data set that TorchGeo reads (extra `torchgeo`) to "
        "OUT/{train,val}/{images,labels}, which `--config.data.root=OUT` trains on.",
        allow_abbrev=False,
    )
    add_traceback(parser, default=argparse.SUPPRESS)
    add = parser.add_argument
    add("--dataset", required=True, metavar="NAME", help="such as LandCoverAI")
    add("--raw", required=True, metavar="DIR", help="the data set's root")
    add("--out", type=Path, required=True, metavar="DIR", help="gets the images")
    add(
        "--split",
        type=_splits,
        default={"train": "train", "val": "val"},
        metavar="train[=NAME],…",
        help="which, and what the data set calls them (default train,val)",
    )
    add(
        "--bands",
        type=_bands,
        default=(0, 1, 2),
        metavar="R,G,B",
        help="numbers from 0, as TorchGeo counts, or one for grey (default 0,1,2)",
    )
    add(
        "--scale",
        type=_low_high,
        metavar="LOW,HIGH",
        help="values that become 0 and 255; default 0-255 as it is",
    )
    add(
        "--first",
        type=int,
        default=0,
        metavar="N",
        help="mask value of the first class; lower ones are ignored (default 0)",
    )
    add(
        "--ignore",
        type=_whole,
        default=(255,),
        metavar="N,…",
        help="mask values that are ignored (default 255)",
    )
    _add_arguments_of_the_set(add)


def _add_arguments_of_the_set(add: Callable[..., object]) -> None:
    add("--download", action="store_true", help="let TorchGeo download it")
    add(
        "--set",
        type=_argument,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="more arguments of the data set, such as \"scene=['urban']\"",
    )


def export_torchgeo(options: argparse.Namespace) -> None:
    """Exports what the options ask for."""
    from crossearth_jax.tiles.torchgeo import Export, export

    asked = Export(
        dataset=options.dataset,
        raw=options.raw,
        splits=options.split,
        bands=options.bands,
        scale=options.scale,
        first=options.first,
        ignored=options.ignore,
        download=options.download,
        arguments=dict(options.set),
    )
    export(asked, options.out)


def _splits(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    found = {mine: theirs or mine for mine, _, theirs in pairs}
    if not found or not found.keys() <= {"train", "val"} or "train" not in found:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected train, or train and val, with the data set's names "
            "such as train,val=validation"
        )
    return found


def _whole(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected whole numbers such as 0,255"
        ) from None


def _bands(text: str) -> tuple[int, ...]:
    found = _whole(text)
    if len(found) not in (1, 3) or min(found) < 0:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected 3 or 1 numbers from 0 such as 0,1,2"
        )
    return found


def _low_high(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -float("inf") < low < high < float("inf"):
        raise argparse.ArgumentTypeError(
            f"got {text}, expected LOW,HIGH with LOW < HIGH such as 0,4000"
        )
    return low, high


def _argument(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not key.isidentifier() or not sign:
        raise argparse.ArgumentTypeError(f"got {text}, expected KEY=VALUE")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):  # a word
        return key, value
