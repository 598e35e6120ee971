"""`crossearth features CHECKPOINT IMAGE… --out DIR`: what the taps see, as pictures."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.options import add_model, find_scenes
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.data.folders import IMAGE_SUFFIXES, Pair
from crossearth_jax.data.raw_images import RawImages
from crossearth_jax.data.scaled import read_scaled
from crossearth_jax.data.tile_folder import with_raw
from crossearth_jax.features.extractor import Extractor, has_injector, make_extractor
from crossearth_jax.features.maps import (
    FeatureMaps,
    as_picture,
    feature_maps,
    injector_change,
)
from crossearth_jax.pixels.contact_sheet import contact_sheet, evenly_spaced, fitted
from crossearth_jax.run.trained import load_run
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.whole_file import whole_file

MOST_ROWS = 24  # of the sheet
MOST_BYTES = 4 << 30  # of features, which stay in memory until the basis is known

Picture = UInt8[np.ndarray, "_ _ 3"]


def main(argv: Sequence[str]) -> int:
    """Runs the command."""
    return guarded(run, _parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Makes the maps, the sheet and the numbers."""
    set_up_compiler()
    paths = find_scenes(options.images, IMAGE_SUFFIXES)
    names = _names(paths)
    trained = load_run(options.checkpoint, options.precision, options.step)
    images = _images(paths, trained.settings.data.raw)
    both = (False, True) if has_injector(trained) else (False,)
    variants = both if options.injector is None else (options.injector,)
    extract = make_extractor(
        trained, taps=options.tap, variants=variants, batch=options.batch
    )
    _check_memory(images, extract, trained.network.model.config.backbone.width)
    features = [extract(image) for image in images]
    maps = feature_maps(features, share_variants=options.shared_basis)
    options.out.mkdir(parents=True, exist_ok=True)
    _write_pictures(options.out, names, images, maps, extract)
    changes = injector_change(features) if len(extract.variants) == 2 else []
    blocks = trained.network.model.config.backbone.taps
    numbers = {
        "about": trained.about(),
        "images": {n: list(i.shape[:2]) for n, i in zip(names, images, strict=True)},
        "windows": {
            "crop": extract.windows.crop,
            "stride": extract.windows.stride,
        },
        "shared_basis": options.shared_basis,
        "maps": _entries(maps, extract, blocks, changes),
    }
    with whole_file(options.out / "features.json") as place:
        place.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    _report(numbers["maps"])
    print(f"{len(images)} images: {options.out / 'sheet.png'}")


def _images(paths: Sequence[Path], raw: RawImages) -> list[Picture]:
    """As the run sees them."""
    pairs = with_raw([Pair(path, path, path.stem) for path in paths], raw)
    return [read_scaled(pair.image, pair.raw)[0] for pair in pairs]


def _names(paths: Sequence[Path]) -> list[str]:
    names = [path.stem for path in paths]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"got several images named {repeated[0]}, expected different names: they "
            "name the pictures; rename one, or make two calls"
        )
    return names


def _check_memory(images: Sequence[Picture], extract: Extractor, width: int) -> None:
    tokens = sum(image.shape[0] * image.shape[1] for image in images) / extract.token**2
    size = 4 * tokens * width * len(extract.taps) * len(extract.variants)
    if size > MOST_BYTES:
        raise ValueError(
            f"got {len(images)} images whose features take {size / 2**30:.1f} GB, "
            f"expected at most {MOST_BYTES >> 30} GB, since all of them share their "
            "colours: take fewer images, cut them, or look at one tap or variant"
        )


def _label(extract: Extractor, one: FeatureMaps) -> str:
    injected = "_injector" if extract.variants[one.variant] else ""
    return f"tap{extract.taps[one.tap] + 1}{injected}"


def _header(extract: Extractor, one: FeatureMaps) -> str:
    injected = " + Injector" if extract.variants[one.variant] else ""
    return f"tap {extract.taps[one.tap] + 1}{injected}"


def _write_pictures(
    out: Path,
    names: Sequence[str],
    images: Sequence[Picture],
    maps: Sequence[FeatureMaps],
    extract: Extractor,
) -> None:
    rows = []
    for i, (name, image) in enumerate(zip(names, images, strict=True)):
        size = image.shape[:2]
        row = [as_picture(one.colours[i], extract.token, size) for one in maps]
        for one, picture in zip(maps, row, strict=True):
            _save(Image.fromarray(picture), out / f"{name}_{_label(extract, one)}.png")
        rows.append([image, *row])
    shown = evenly_spaced(len(rows), MOST_ROWS)
    heads = [_header(extract, one) for one in maps]
    cells = [(names[i], [fitted(one) for one in rows[i]]) for i in shown]
    sheet = contact_sheet(cells, columns=["image", *heads])
    _save(sheet, out / "sheet.png")


def _save(picture: Image.Image, path: Path) -> None:
    with whole_file(path) as place:
        picture.save(place, format="PNG")


def _entries(
    maps: Sequence[FeatureMaps],
    extract: Extractor,
    blocks: Sequence[int],
    changes: Sequence[float],
) -> list[dict[str, Any]]:
    """What `features.json` records of each map; `blocks` are those of the four taps."""
    entries = []
    for one in maps:
        tap, injected = extract.taps[one.tap], extract.variants[one.variant]
        entry = {
            "tap": tap + 1,
            "block": blocks[tap] + 1,
            "injector": injected,
            "explained_variance": one.basis.explained.tolist(),
        }
        if injected and changes:
            entry["change_by_injector"] = changes[one.tap]
        entries.append(entry)
    return entries


def _report(entries: Sequence[dict[str, Any]]) -> None:
    for entry in entries:
        shares = ", ".join(f"{100 * e:.1f}" for e in entry["explained_variance"])
        name = "with" if entry["injector"] else "without"
        print(
            f"tap {entry['tap']} (block {entry['block']}) {name} Injector: the three "
            f"components explain {shares} % of the variance"
        )
        if "change_by_injector" in entry:
            change = 100 * entry["change_by_injector"]
            print(
                f"  the Injector moves the features by {change:.1f} % of their spread"
            )


def _taps(text: str) -> tuple[int, ...]:
    if text == "all":
        return (0, 1, 2, 3)
    if text not in ("1", "2", "3", "4"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected 1, 2, 3, 4 or all")
    return (int(text) - 1,)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth features",
        "Principal components of a trained model's features as RGB maps.",
    )
    add_model(parser)
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="PNG, JPEG, TIFF, folder or pattern")
    add(
        "--tap",
        type=_taps,
        default=(3,),
        metavar="1..4|all",
        help="default 4, the last",
    )
    add(
        "--shared-basis",
        action="store_true",
        help="the same colours without and with Injector",
    )
    return parser
