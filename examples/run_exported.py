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

LARGEST = 2**20  # bytes of a sidecar
LARGEST_PROGRAM = 2**31  # bytes; no flatbuffer is larger


def load(sidecar: str | Path) -> tuple[Callable, dict]:
    """The function from windows to scores, and its description in the sidecar."""
    with Path(sidecar).open("rb") as file:
        about, folder = json.loads(file.read(LARGEST)), Path(sidecar).parent
    for part in filter(None, (about, about["weights"])):
        if Path(part["file"]).name != part["file"]:
            raise SystemExit(f"got a file {part['file']!r:.99}, expected a plain name")
        size = (folder / part["file"]).stat().st_size
        if size != part.get("bytes", size) or (
            part is about and size > LARGEST_PROGRAM
        ):
            raise SystemExit(f"{part['file']!r:.99} is damaged: it has {size:,} bytes")
        with (folder / part["file"]).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != part["sha256"]:
            raise SystemExit(f"{part['file']!r:.99} is damaged: its SHA-256 differs")
    blob = bytearray((folder / about["file"]).read_bytes())
    exported = jax.export.deserialize(blob)
    check(about, exported)
    scores = jax.jit(exported.call)
    if about["weights"] is None:
        return scores, about
    from safetensors.flax import load_file

    weights = load_file(folder / about["weights"]["file"])
    return lambda windows: scores(weights, windows), about


def load_or_exit(sidecar: str | Path) -> tuple[Callable, dict]:
    """`load`, for a program that ends in one line."""
    try:
        return load(sidecar)
    except Exception as error:  # the files decide what goes wrong
        raise SystemExit(f"got no sidecar of an export: {error!r:.200}") from None


def check(about: dict, exported: jax.export.Exported) -> None:
    """Refuses a sidecar that does not describe its program."""
    batch, crop = exported.in_avals[-1].shape[:2]  # the windows come last
    count = exported.out_avals[0].shape[-1]
    batch = batch if isinstance(batch, int) else None
    colours = about["palette"]
    fits = {
        "crop": about["crop"] == crop,
        "batch": about["batch"] == batch,
        "stride": type(about["stride"]) is int and 0 < about["stride"] <= crop,
        "classes": len(about["classes"]) == count,
        "palette": len(colours) == count
        and all(len(c) == 3 and all(v in range(256) for v in c) for c in colours),
    }
    if wrong := [name for name, fit in fits.items() if not fit]:
        raise SystemExit(
            f"got a sidecar whose {', '.join(wrong)} do not fit its program (crop "
            f"{crop}, batch {batch}, {count} classes): export it again"
        )


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
    scores, about = load_or_exit(sys.argv[1])
    picture = Image.open(sys.argv[2]).convert("RGB")
    labels = Image.fromarray(classify(scores, about, np.asarray(picture)), "P")
    labels.putpalette([value for colour in about["palette"] for value in colour])
    labels.save(Path(sys.argv[2]).with_suffix(".classes.png"))
