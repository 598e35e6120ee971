"""Altered copies of source images: shifts whose effect on accuracy is known.

Scenes of other places, seasons and sensors differ in colour, contrast, sharpness and
noise; where things lie stays as the label has it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from crossearth_jax.data.datasets import Record, Source

Image = UInt8[np.ndarray, "H W 3"]
Alter = Callable[[Image, np.random.Generator], Image]


def _bytes(values: Float[np.ndarray, "H W 3"]) -> Image:
    return np.clip(values, 0, 255).astype(np.uint8)


def _mixed(strength: float) -> Alter:
    """Channels mixed and shifted at random."""

    def alter(image: Image, rng: np.random.Generator) -> Image:
        mix = np.eye(3) + strength * rng.normal(size=(3, 3))
        mix /= np.abs(mix.sum(1, keepdims=True)).clip(0.1)
        shift = 40 * strength * rng.normal(size=3)
        return _bytes((image - 128.0) @ mix.T + 128 + shift)

    return alter


def _contrast(image: Image, _: np.random.Generator) -> Image:
    return _bytes((image - image.mean()) * 0.5 + image.mean())


def _gamma(image: Image, rng: np.random.Generator) -> Image:
    return _bytes(255 * (image / 255) ** (2.0 if rng.random() < 0.5 else 0.5))


def _blurred(image: Image, _: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.uint8)


def _noisy(image: Image, rng: np.random.Generator) -> Image:
    return _bytes(image + rng.normal(scale=25, size=image.shape))


def _grey(image: Image, _: np.random.Generator) -> Image:
    return _bytes(np.repeat(image.mean(2, keepdims=True), 3, axis=2))


ALTERATIONS: Mapping[str, Alter] = {
    "colours mixed a little": _mixed(0.2),
    "colours mixed": _mixed(0.35),
    "half the contrast": _contrast,
    "gamma": _gamma,
    "blurred": _blurred,
    "noise": _noisy,
    "grey": _grey,
}


@dataclass(frozen=True)
class Altered:
    """A source whose images are altered, each always alike; labels stay."""

    source: Source
    alter: Alter

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Record:
        record = self.source[index]
        if not record.valid:
            return record
        rng = np.random.default_rng(index)
        return replace(record, image=self.alter(record.image, rng))

    @property
    def names(self) -> Sequence[str]:
        """Of the images."""
        return self.source.names

    def fingerprint(self) -> str:
        """Of the source; altered images are kept nowhere."""
        return self.source.fingerprint()
