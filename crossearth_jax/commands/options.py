"""What `crossearth features` and `crossearth umap` have in common."""

import argparse
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

from crossearth_jax.commands.parser import add_step
from crossearth_jax.data.folders import refuse_control
from crossearth_jax.system.read_lines import read_lines


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose features and their run."""
    from crossearth_jax.run.trained import PRECISIONS  # brings JAX

    add = parser.add_argument
    add("checkpoint", help="workdir of a run, or a folder in its checkpoints/")
    add("--out", type=Path, required=True, help="folder of the results")
    add(
        "--injector",
        action=argparse.BooleanOptionalAction,
        help="features with or without Injector(GSE)",
    )
    add("--batch", type=int, help="windows per call; default the run's eval.batch")
    add_step(parser)
    add("--precision", choices=sorted(PRECISIONS), help="default the run's")


SCENES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg", ".img")


def find_scenes(inputs: Sequence[str], suffixes: Sequence[str] = SCENES) -> list[Path]:
    """Files as given, patterns expanded, folders searched for rasters.

    Args:
      inputs: files, folders and patterns.
      suffixes: of the rasters in a folder; GDAL reads all of `SCENES`.

    Raises:
      ValueError: there is no such file, or none at all.
    """
    scenes: list[Path] = []
    for text in listed(inputs):
        path = Path(text)
        if path.is_dir():
            inside = sorted(path.iterdir())
            found = [p for p in inside if p.suffix.lower() in suffixes and p.is_file()]
            refuse_control(path, [p.name for p in found])
        else:
            found = [path] if path.is_file() else _fitting(path)
        if not found:
            raise ValueError(
                f"got {text}, expected a raster, a folder of rasters "
                f"({', '.join(suffixes)}) or a pattern that fits some"
            )
        scenes += found
    return list(dict.fromkeys(scenes))


def listed(inputs: Sequence[str]) -> Iterator[str]:
    """Inputs, with those in list files instead of @FILE."""
    for text in inputs:
        if not text.startswith("@") or Path(text).exists():
            yield text
            continue
        place = Path(text[1:])
        if not place.is_file():
            raise ValueError(
                f"got {text}, expected a file {place} of inputs, one a line"
            )
        try:
            lines = [line for _, line in read_lines(place)]
        except ValueError as error:
            raise ValueError(
                f"{place}: cannot be read ({error}), expected inputs, one a line"
            ) from error
        yield from lines


def _fitting(pattern: Path) -> list[Path]:
    """Files that fit; folders that exist may have brackets in their names."""
    folder = next(parent for parent in pattern.parents if parent.is_dir())
    rest = pattern.relative_to(folder)
    return sorted(folder / name for name in glob.glob(str(rest), root_dir=folder))
