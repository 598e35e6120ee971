"""A labelled world of two classes that a cheap function classifies by brightness."""

import numpy as np
from rasters import CLASSES, bright_is_roof, predictor

from crossearth_jax.data.datasets import Record, ScoredDomain
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.scoring.windows import Windows
from crossearth_jax.trust.baseline import measure_baseline

WINDOWS = Windows(crop=64, stride=43, patch=32, batch=3)
TOKEN = 8


class Painted:
    """Bright squares on dark ground; `fog` makes them alike."""

    def __init__(self, count=6, fog=0.0, classes=2):
        self.count, self.fog, self.classes = count, fog, classes
        self.names = tuple(f"{i}" for i in range(count))

    def __len__(self):
        return self.count

    def fingerprint(self):
        return f"painted {self.count} {self.fog}"

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        label = np.zeros((64, 96), np.uint8)
        for _ in range(4):
            y, x = rng.integers(0, 50), rng.integers(0, 80)
            label[y : y + 14, x : x + 16] = 1
        light = np.where(label, 165, 70) * (1 - self.fog) + 115 * self.fog
        noise = rng.normal(scale=45, size=(*label.shape, 3))
        image = np.clip(light[..., None] + noise, 1, 255).astype(np.uint8)
        if self.classes == 1:
            label[:] = 0
        label[:3] = IGNORE
        return Record(image, label, self.names[index])


def colours(windows):
    """Features: means and spreads of the colours of tokens, two variants alike."""
    b, h, w, _ = windows.shape
    blocks = windows.reshape(b, h // TOKEN, TOKEN, w // TOKEN, TOKEN, 3)
    parts = [blocks.mean((2, 4)), blocks.std((2, 4))]
    seen = np.concatenate(parts, -1).astype(np.float32)
    return np.stack([seen, 2 * seen], axis=1)[:, :, None]


def domain(name="near", role="source", **painted):
    return ScoredDomain(name, role, Painted(**painted))


def baseline():
    return measure_baseline(
        bright_is_roof, colours, domain(), classes=CLASSES.names, windows=WINDOWS
    )


__all__ = ["CLASSES", "WINDOWS", "baseline", "bright_is_roof", "colours", "domain"]
__all__ += ["predictor"]
