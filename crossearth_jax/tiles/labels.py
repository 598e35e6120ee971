"""Label files of any kind."""

from collections.abc import Sequence
from pathlib import Path

from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.tiles.layers import Layer, is_vector
from crossearth_jax.tiles.rasters import RasterLabels
from crossearth_jax.tiles.scene_labels import Labels
from crossearth_jax.tiles.settings import LabelSettings
from crossearth_jax.tiles.vectors import VectorLabels


def labels_of(paths: Sequence[Path], asked: LabelSettings) -> Labels:
    """Opens label files.

    Args:
      paths: files of polygons, or rasters of class ids.
      asked: how they become class ids.

    Raises:
      ValueError: a file is missing or unreadable, kinds are mixed, or the number of
        classes is not 2 to 255.
    """
    for path in paths:
        if not path.exists():
            raise ValueError(
                f"got --labels {path}, expected a file of polygons or a raster of "
                "class ids: there is no such file"
            )
    vectors = [is_vector(path) for path in paths]
    if len(set(vectors)) > 1:
        vector, raster = paths[vectors.index(True)], paths[vectors.index(False)]
        raise ValueError(
            f"got polygons in {vector} and pixels in {raster}, expected one kind: cut "
            "tiles of each into a folder of its own"
        )
    labels: Labels
    if vectors[0]:
        layers = [Layer.of(path, asked.layer) for path in paths]
        labels = VectorLabels(layers, asked)
    else:
        labels = RasterLabels(paths, asked)
    if not 2 <= len(labels.names) <= IGNORE:
        raise ValueError(
            f"{paths[0]}: got {len(labels.names)} classes, expected 2 to {IGNORE} with "
            "the background: leave --no-background out, or choose another --attribute"
        )
    return labels
