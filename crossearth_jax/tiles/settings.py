"""What is asked of `crossearth tiles`, checked before anything is read."""

from dataclasses import dataclass, field
from pathlib import Path

from crossearth_jax.data.class_file import NAME
from crossearth_jax.system.escape import quoted

SPLITS = ("blocks", "scenes", "none")
SCENE, HULL = "scene", "hull"  # areas that need no file
MOST_PIXELS = 8192  # of a tile's side
MOST_EDGE = 64  # pixels


@dataclass(frozen=True)
class LabelSettings:
    """How labels become class ids.

    Attributes:
      layer: of a file with several.
      where: SQL condition on the features.
      attribute: column that holds the class; None with `burn` or for rasters.
      burn: the one class of all features, or of all values of a raster but 0.
      order: classes from below to above where polygons overlap; others lie below.
      buffer: metres to either side of lines.
      background: name of what nothing covers; None ignores it.
      area: "scene", "hull" or a file of polygons: where what is not covered is
        background.
      all_touched: a polygon takes every pixel that it touches, not only those whose
        middle lies in it.
      edge_ignore: pixels ignored to either side of an edge between classes.
      strict: invalid geometries are an error, not repaired.
    """

    layer: str | None = None
    where: str | None = None
    attribute: str | None = None
    burn: str | None = None
    order: tuple[str, ...] = ()
    buffer: float | None = None
    background: str | None = "background"
    area: str = SCENE
    all_touched: bool = False
    edge_ignore: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        if self.attribute is not None and self.burn is not None:
            raise ValueError(
                "got --attribute and --burn, expected one of them: --burn gives all "
                "polygons one class"
            )
        for option, name in (("--burn", self.burn), ("--background", self.background)):
            if name is not None:
                check_class_name(option, name)
        if self.burn is not None and self.burn == self.background:
            raise ValueError(
                f"got --burn and --background {quoted(self.burn)}, expected two names"
            )
        if self.buffer is not None and not 0 < self.buffer < float("inf"):
            raise ValueError(f"got --buffer {self.buffer:g}, expected metres above 0")
        if not 0 <= self.edge_ignore <= MOST_EDGE:
            raise ValueError(
                f"got --edge-ignore {self.edge_ignore}, expected 0 to {MOST_EDGE}"
            )
        if self.area not in (SCENE, HULL) and not Path(self.area).exists():
            raise ValueError(
                f"got --area {self.area}, expected {SCENE}, {HULL} or a file of "
                "polygons: there is no such file"
            )


@dataclass(frozen=True)
class TileSettings:
    """How scenes become tiles.

    Attributes:
      size: pixels of a tile's side.
      stride: pixels from tile to tile.
      bands: 1-based numbers of red, green and blue, or of one grey band; None takes the
        file's own colours.
      scale: values that become 0 and 255.
      percentiles: of all scenes together, which become 0 and 255.
      gsd: metres of a tile's pixel; None leaves the scenes' own.
      keep_bits: tiles hold the scenes' values.
      split: "blocks", "scenes" or "none".
      val: share of the tiles for validation.
      seed: of the split and of which empty tiles are kept.
      keep_empty: share of the training tiles without any object that is kept.
      labels: see `LabelSettings`.
    """

    size: int = 512
    stride: int = 512
    bands: tuple[int, ...] | None = None
    scale: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    gsd: float | None = None
    keep_bits: bool = False
    split: str = "blocks"
    val: float = 0.2
    seed: int = 0
    keep_empty: float = 0.1
    labels: LabelSettings = field(default_factory=LabelSettings)

    def __post_init__(self) -> None:
        if not 16 <= self.size <= MOST_PIXELS:
            raise ValueError(
                f"got --size {self.size}, expected 16 to {MOST_PIXELS} pixels"
            )
        if not 1 <= self.stride <= self.size:
            raise ValueError(
                f"got --stride {self.stride}, expected 1 to {self.size}, the --size: "
                "larger steps would leave pixels out"
            )
        if self.split != "none" and not 0 < self.val < 1:
            raise ValueError(
                f"got --val {self.val:g}, expected a share between 0 and 1; for no "
                "validation pass --split none"
            )
        if not 0 <= self.keep_empty <= 1:
            raise ValueError(
                f"got --keep-empty {self.keep_empty:g}, expected a share of 0 to 1"
            )
        if self.seed < 0:
            raise ValueError(f"got --seed {self.seed}, expected 0 or more")
        self._check_scaling()

    def _check_scaling(self) -> None:
        if self.scale is not None:
            low, high = self.scale
            if not -float("inf") < low < high < float("inf"):
                raise ValueError(
                    f"got --scale {low:g},{high:g}, expected LOW,HIGH with LOW < HIGH"
                )
        if self.percentiles is not None:
            low, high = self.percentiles
            if not 0 <= low < high <= 100:
                raise ValueError(
                    f"got --percentiles {low:g},{high:g}, expected LOW,HIGH between 0 "
                    "and 100"
                )
            if self.scale is not None:
                raise ValueError("got --scale and --percentiles, expected one of them")


def check_class_name(where: str, name: str) -> None:
    """Refuses what a class file refuses.

    Args:
      where: the name comes from, for the message.
      name: of a class.

    Raises:
      ValueError: it is empty, too long or not printable.
    """
    if not 0 < len(name) <= NAME or not name.isprintable():
        raise ValueError(
            f"got the class name {quoted(name)} from {where}, expected 1 to {NAME} "
            "printable characters: rename it"
        )
