"""Classes of a picture by an exported model: `run_exported.py MODEL.json PICTURE`.

Needs jax, numpy and pillow (safetensors for weights in a file), not crossearth_jax.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image


def load(sidecar: str | Path) -> tuple[Callable, dict]:
    """The function from windows to scores, and its description in the sidecar."""
    about, folder = json.loads(Path(sidecar).read_text()), Path(sidecar).parent
    for part in filter(None, (about, about["weights"])):
        content = (folder / part["file"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != part["sha256"]:
            raise SystemExit(f"{part['file']} is damaged: its SHA-256 differs")
    blob = bytearray((folder / about["file"]).read_bytes())
    scores = jax.jit(jax.export.deserialize(blob).call)
    if about["weights"] is None:
        return scores, about
    from safetensors.flax import load_file

    weights = load_file(folder / about["weights"]["file"])
    return lambda windows: scores(weights, windows), about


def classify(scores: Callable, about: dict, image: np.ndarray) -> np.ndarray:
    """Class ids [H, W] of a uint8 RGB image: mean scores of overlapping windows."""
    (height, width), crop = image.shape[:2], about["crop"]
    below, right = max(crop - height, 0), max(crop - width, 0)
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
    total = np.zeros((*image.shape[:2], len(about["classes"])), np.float32)
    count = np.zeros((*image.shape[:2], 1), np.float32)
    for y in starts(image.shape[0], crop, about["stride"]):
        for x in starts(image.shape[1], crop, about["stride"]):
            area = slice(y, y + crop), slice(x, x + crop)
            windows = np.stack([image[area]] * (about["batch"] or 1))
            total[area] += scores(windows)[0]
            count[area] += 1
    return (total / count)[:height, :width].argmax(2).astype(np.uint8)


def starts(size: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis; the last ends at the edge."""
    return sorted({*range(0, size - crop, stride), size - crop})


if __name__ == "__main__":
    scores, about = load(sys.argv[1])
    picture = Image.open(sys.argv[2]).convert("RGB")
    labels = Image.fromarray(classify(scores, about, np.asarray(picture)), "P")
    labels.putpalette([value for colour in about["palette"] for value in colour])
    labels.save(Path(sys.argv[2]).with_suffix(".classes.png"))
