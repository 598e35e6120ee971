"""`crossearth prepare NAME --raw DIR --out DIR`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_traceback, make_parser
from crossearth_jax.commands.prepare_torchgeo import (
    TORCHGEO,
    add_torchgeo,
    export_torchgeo,
)
from crossearth_jax.data.prepare import (
    casid,
    deepglobe,
    loveda,
    massachusetts,
    potsdam,
    rescuenet,
    vaihingen,
    whu_building,
)
from crossearth_jax.data.prepare.items import DataSet
from crossearth_jax.data.prepare.run import prepare

DATA_SETS = {
    "potsdam": potsdam.data_set(),
    "vaihingen": vaihingen.DATA_SET,
    "rescuenet": rescuenet.DATA_SET,
    "loveda": loveda.DATA_SET,
    "whu_building": whu_building.DATA_SET,
    "deepglobe": deepglobe.DATA_SET,
    "massachusetts": massachusetts.DATA_SET,
    "casid": casid.DATA_SET,
}


def main(argv: Sequence[str]) -> int:
    """Prepares one data set; returns the exit status."""
    stopped = "stopped; the same command goes on from here"
    return guarded(run, _parser().parse_args(argv), stopped)


def run(options: argparse.Namespace) -> None:
    """Prepares one data set."""
    if options.name == TORCHGEO:
        export_torchgeo(options)
        return
    prepare(
        _data_set(options),
        options.raw,
        options.out,
        workers=options.workers,
        pack=options.pack,
    )


def _data_set(options: argparse.Namespace) -> DataSet:
    if options.name != "potsdam":
        return DATA_SETS[options.name]
    return potsdam.data_set(
        options.classes, options.low_vegetation, options.lossy_labels
    )


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth prepare",
        "From raw archives to OUT/DOMAIN/SPLIT/{images,labels}; see docs/data.md for "
        "what to\ndownload.",
    )
    sets = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, data_set in DATA_SETS.items():
        about = f"{data_set.title}: {data_set.hint}"
        one = sets.add_parser(
            name, help=data_set.title, description=about, allow_abbrev=False
        )
        add_traceback(one, default=argparse.SUPPRESS)  # as it stands before NAME
        one.add_argument(
            "--raw",
            type=Path,
            required=True,
            metavar="DIR",
            help="folder with the zip archives as downloaded, extracted folders, or "
            "both, anywhere below",
        )
        one.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="gets the domains"
        )
        one.add_argument(
            "--workers",
            type=_workers,
            default=0,
            metavar="N",
            help="processes beside this one (default 0); Potsdam takes about 0.7 GB "
            "of memory in each",
        )
        one.add_argument(
            "--pack",
            action="store_true",
            help="also pack every split into one ArrayRecord, for network disks",
        )
        if name == "potsdam":
            _add_potsdam(one)
    add_torchgeo(sets)
    return parser


def _add_potsdam(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        type=int,
        choices=(6, 5),
        default=6,
        help="5: the classes that RescueNet has too (default 6)",
    )
    parser.add_argument(
        "--low-vegetation",
        choices=("ignore", "vegetation"),
        default="ignore",
        help="what low vegetation is with --classes 5 (default ignore)",
    )
    parser.add_argument(
        "--lossy-labels",
        choices=("round", "ignore"),
        default="round",
        help="areas 4_12 and 6_7 were published with colours beside the palette: take "
        "the nearest colour, or ignore those pixels as mmsegmentation's converter does "
        "(default round)",
    )


def _workers(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 on")
    return int(text)
