"""A bounded sample of labelled features: so many per class and domain, at random."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8

from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.pixels.resample_host import fitted_image

# RGB image → features [h, w, C], one per token.
Extract = Callable[[UInt8[np.ndarray, "H W 3"]], Float32[np.ndarray, "h w C"]]


@dataclass(frozen=True)
class Sample:
    """Features of tokens of one domain, in random order.

    Attributes:
      domain: its name.
      features: of n tokens.
      classes: class ids.
      images: each token's image, by its place in the domain.
    """

    domain: str
    features: Float32[np.ndarray, "n C"]
    classes: Int[np.ndarray, "n"]
    images: Int[np.ndarray, "n"]

    def part(self, chosen: Int[np.ndarray, "m"]) -> "Sample":
        """Some of the tokens, by their places."""
        return Sample(
            self.domain,
            self.features[chosen],
            self.classes[chosen],
            self.images[chosen],
        )


@dataclass(frozen=True)
class Bounds:
    """How much is taken.

    Attributes:
      per_class: tokens of each class at most.
      images: of the domain at most, drawn at random.
      purity: share of a token's pixels that must belong to one class.
      seed: of both draws.
    """

    per_class: int = 200
    images: int = 100
    purity: float = 0.75
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 2 or self.images < 2 or not 0.5 < self.purity <= 1:
            raise ValueError(
                f"got per_class {self.per_class}, images {self.images}, purity "
                f"{self.purity}, expected 2 or more, 2 or more, and above 0.5 to 1"
            )


def sample_domain(
    extract: Extract,
    domain: ScoredDomain,
    *,
    num_classes: int,
    token: int,
    bounds: Bounds,
) -> Sample:
    """Draws tokens of every class, all of a class with the same chance.

    Images are resized as for scoring (`ScoredDomain.fit`), labels by the nearest pixel.
    Memory holds one image's features and the sample.

    Args:
      extract: from images to features.
      domain: its labelled images.
      num_classes: K.
      token: pixels of a token's side.
      bounds: how much.

    Raises:
      ValueError: no token has a class.
    """
    rng = np.random.default_rng(bounds.seed)
    order = rng.permutation(len(domain.source))[: bounds.images]
    kept: dict[int, _Draw] = {k: _Draw(bounds.per_class) for k in range(num_classes)}
    for place in np.sort(order).tolist():
        record = domain.source[place]
        if not record.valid:
            continue
        image, label = _fitted(record, domain.fit)
        classes = token_classes(label, token, num_classes, bounds.purity)  # [h, w]
        lots = rng.random(classes.shape)
        known = np.unique(classes[classes != IGNORE]).tolist()
        if not known:
            continue
        features = extract(image)
        for k in known:
            kept[k].add(lots[classes == k], features[classes == k], place)
    found = {k: draw for k, draw in kept.items() if len(draw.lots)}
    if not found:
        raise ValueError(
            f"got no token of one class in domain {domain.name}, expected some: lower "
            f"--purity ({bounds.purity}) or check the labels"
        )
    classes = np.concatenate([np.full(len(d.lots), k) for k, d in found.items()])
    features = np.concatenate([draw.features for draw in found.values()])
    images = np.concatenate([draw.images for draw in found.values()])
    mixed = rng.permutation(len(classes))
    return Sample(domain.name, features, classes, images).part(mixed)


class _Draw:
    """The tokens with the lowest lots so far: a sample without replacement."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.lots, self.images = np.zeros(0), np.zeros(0, np.int64)
        self.features = np.zeros((0, 0), np.float32)

    def add(
        self,
        lots: np.ndarray,
        features: Float32[np.ndarray, "n C"],
        image: int,
    ) -> None:
        if not len(self.lots):
            self.features = features[:0]
        every = np.concatenate([self.lots, lots])
        best = np.argsort(every, kind="stable")[: self.size]
        self.lots = every[best]
        self.features = np.concatenate([self.features, features])[best]
        places = np.full(len(lots), image)
        self.images = np.concatenate([self.images, places])[best]


def token_classes(
    label: UInt8[np.ndarray, "H W"], token: int, num_classes: int, purity: float
) -> UInt8[np.ndarray, "h w"]:
    """The class of each token; 255 where no class has enough of its pixels.

    Pixels that are ignored, or beyond the image, belong to no class.

    Args:
      label: class ids, 255 = ignore.
      token: pixels of a token's side.
      num_classes: K.
      purity: share of the token's pixels that the class needs, above one half.
    """
    height, width = (-(-n // token) for n in label.shape)
    edges = [(0, height * token - label.shape[0]), (0, width * token - label.shape[1])]
    padded = np.pad(label, edges, constant_values=IGNORE)
    blocks = padded.reshape(height, token, width, token)
    classes = np.full((height, width), IGNORE, np.uint8)
    for k in range(num_classes):
        classes[(blocks == k).mean((1, 3)) >= purity] = k
    return classes


def _fitted(
    record: Record, longest: int | None
) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
    """Image and label as the evaluation resizes the image."""
    image = fitted_image(record.image, longest)
    if longest is None:
        return image, record.label
    height, width = image.shape[:2]
    nearest = cv2.INTER_NEAREST
    return image, cv2.resize(record.label, (width, height), interpolation=nearest)
