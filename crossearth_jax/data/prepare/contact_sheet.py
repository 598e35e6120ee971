"""One picture per domain: prepared images beside their coloured labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.data.decode import read_image, read_label
from crossearth_jax.pixels.contact_sheet import (
    Cell,
    class_map,
    contact_sheet,
    evenly_spaced,
    fitted,
    fitted_ids,
)
from crossearth_jax.pixels.legend import class_entries, not_annotated
from crossearth_jax.system.whole_file import whole_file

MOST = 8  # pairs
ACROSS = 2


def write_contact_sheet(
    path: Path,
    pairs: Sequence[tuple[Path, Path]],
    classes: ClassSet,
    pixels: Mapping[str, int],
) -> None:
    """Draws evenly spaced pairs and a legend with every class's share.

    Args:
      path: PNG to write.
      pairs: (image, label) files of a domain, in order.
      classes: names and palette; ignored pixels are hatched.
      pixels: written pixels by class name, and "ignored".
    """
    total = max(sum(pixels.values()), 1)
    shares = [
        f"{name} {pixels.get(name, 0) / total:.2%}"
        for name in (*classes.names, "ignored")
    ]
    entries = class_entries(shares[:-1], classes.palette)
    sheet = contact_sheet(
        [_cell(*pairs[i], classes) for i in evenly_spaced(len(pairs), MOST)],
        groups={"": [*entries, not_annotated(shares[-1])]},
        across=ACROSS,
    )
    with whole_file(path) as place:
        sheet.save(place, format="PNG")


def _cell(image_file: Path, label_file: Path, classes: ClassSet) -> Cell:
    image = fitted(read_image(image_file))
    ids = fitted_ids(read_label(label_file, indexed=True), image)
    name = f"{image_file.parent.parent.name} {image_file.stem}"
    return name, [image, class_map(ids, classes.palette)]
