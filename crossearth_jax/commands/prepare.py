"""`crossearth prepare NAME --raw DIR --out DIR`, `--check` and `--download`."""

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
from crossearth_jax.data.prepare.check import check
from crossearth_jax.data.prepare.distribution import DISTRIBUTIONS
from crossearth_jax.data.prepare.items import DataSet
from crossearth_jax.data.prepare.processed import PUBLISHED, origins, processed
from crossearth_jax.data.prepare.run import prepare
from crossearth_jax.hub.archives import fetch_archive

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
    """Downloads, checks or prepares one data set; returns the exit status."""
    stopped = "stopped; the same command goes on from here"
    parser = _parser()
    options = parser.parse_args(argv)
    if options.out is None and not (options.check or options.download):
        parser.error("expected --out DIR, --check or --download")
    return guarded(run, options, stopped)


def run(options: argparse.Namespace) -> None:
    """Downloads, checks and prepares one data set, whichever was asked for."""
    if options.name == TORCHGEO:
        export_torchgeo(options)
        return
    data_set = processed(_data_set(options), options.origin)
    if options.download:
        _download(options.name, options.raw)
    if options.check:
        check(data_set, options.raw)
    if options.out is not None:
        prepare(
            data_set,
            options.raw,
            options.out,
            workers=options.workers,
            pack=options.pack,
        )


def _download(name: str, raw: Path) -> None:
    """Fetches the archives of a data set with an open licence."""
    known = DISTRIBUTIONS[name]
    print(f"{name}: {known.terms}; {known.page}", flush=True)
    open_ones = [each for each in known.archives if each.url]
    if not open_ones:
        raise ValueError(
            f"got --download for {name}, which no program may or can fetch (terms: "
            f"{known.terms}), expected {DATA_SETS[name].hint}: take it from "
            f"{known.page} and put it into {raw}"
        )
    for each in open_ones:
        assert each.url and each.bytes and each.md5
        place = raw / each.name
        fetched = fetch_archive(
            each.url, place, size=each.bytes, md5=each.md5, page=known.page
        )
        how = "MD5 as published" if fetched else "here already; --check reads its MD5"
        print(f"{place}: {each.bytes:,} bytes, {how}", flush=True)


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
            help="folder with the zip or tar archives as downloaded, extracted "
            "folders, or both, anywhere below",
        )
        one.add_argument("--out", type=Path, metavar="DIR", help="gets the domains")
        _add_before(one, name)
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


def _add_before(parser: argparse.ArgumentParser, name: str) -> None:
    """What concerns the raw files."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare the archives with published sizes and MD5 where they are known, "
        "and look for pairs; nothing is written without --out",
    )
    fetched = ", ".join(a.name for a in DISTRIBUTIONS[name].archives if a.url)
    parser.add_argument(
        "--download",
        action="store_true",
        help=f"fetch {fetched} into --raw first ({DISTRIBUTIONS[name].terms})"
        if fetched
        else "print terms and address, which you have to visit yourself",
    )
    parser.add_argument(
        "--from",
        dest="origin",
        choices=origins(name),
        default=PUBLISHED,
        help="whose files these are: as published (default), or a copy that was "
        "processed already",
    )


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
