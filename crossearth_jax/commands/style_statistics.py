"""`crossearth style-statistics`: Earth statistics of a folder of field imagery."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import track

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.data.decode import read_image
from crossearth_jax.earth_style.pool import image_files, spread
from crossearth_jax.earth_style.predictor import EMBEDDING
from crossearth_jax.earth_style.statistics import Image, earth_statistics
from crossearth_jax.earth_style.weights import load_style_networks
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.system.escape import error_line


def main(argv: Sequence[str]) -> int:
    """`crossearth style-statistics DIR --weights FILE --out FILE.npz`."""
    parser = make_parser(
        "crossearth style-statistics",
        "Mean and covariance of the style predictor over field imagery (Million-AID "
        "in the\npaper), for restyling in training.",
    )
    parser.add_argument("images_dir", type=Path, help="folder of PNG, JPEG, TIFF")
    parser.add_argument(
        "--weights", type=Path, required=True, help="converted style weights, or a name"
    )
    parser.add_argument("--out", type=Path, required=True, help=".npz file to write")
    parser.add_argument("--size", type=int, default=512, help="pixels, default 512")
    parser.add_argument("--batch", type=int, default=8, help="default 8")
    parser.add_argument(
        "--count", type=int, help="use this many images, evenly spread over the folder"
    )
    return guarded(run, parser.parse_args(argv))


def run(args: argparse.Namespace) -> None:
    """A folder of images to one .npz file."""
    files = image_files(args.images_dir)
    files = spread(files, args.count or len(files))
    predictor, _ = load_style_networks(find_weights(args.weights))
    skipped: list[Path] = []
    images = _read_all(files, skipped)
    result = earth_statistics(images, predictor, size=args.size, batch=args.batch)
    result.save(args.out)
    used = len(files) - len(skipped)
    print(f"{args.out}: Earth statistics of {used} images, {len(skipped)} unreadable")
    if used <= EMBEDDING:
        print(
            f"note: {used} images span at most {used - 1} of {EMBEDDING} style "
            "directions; more imagery gives more varied styles"
        )


def _read_all(files: list[Path], skipped: list[Path]) -> Iterator[Image]:
    """Reads the files with progress; unreadable ones are named and collected."""
    terminal = sys.stderr.isatty()
    numbered = enumerate(files, 1)
    for number, path in (
        track(numbered, "field imagery", len(files)) if terminal else numbered
    ):
        if not terminal and (number % 100 == 0 or number == len(files)):
            print(f"field imagery {number}/{len(files)}", file=sys.stderr, flush=True)
        try:
            yield read_image(path)
        except ValueError as error:
            # One bad file must not end hours of work, but it must be seen.
            print(f"left out: {error_line(error)}", file=sys.stderr, flush=True)
            skipped.append(path)
