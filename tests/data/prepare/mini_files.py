"""Small files for miniature raw archives: pictures, their bytes, and zips of them."""

import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.random.default_rng(7).integers(40, 215, (16, 3))


def labelled(seed, classes, size):
    """An image [size, size, 3] and its ids [size, size]: blocks, each class present."""
    rng = np.random.default_rng(seed)
    blocks = rng.permutation(np.arange(16) % classes).reshape(4, 4)
    ids = np.kron(blocks, np.ones((-(-size // 4),) * 2, int))[:size, :size]
    image = COLOURS[ids] + rng.integers(-20, 21, (size, size, 3))
    return image.astype(np.uint8), ids.astype(np.uint8)


def encoded(array, suffix):
    """The bytes of a picture file."""
    kind = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "tiff": "TIFF"}[suffix]
    stream = BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(stream, kind)
    return stream.getvalue()


def write_folder(folder, files):
    """Writes `files` (name to bytes) as an extracted archive."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_zip(path, files):
    """Writes `files` (name to bytes) as one archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_archive(folder, name, files, *, zipped):
    """As downloaded (one zip), or what extracting it gives.

    Args:
      folder: where.
      name: of the archive.
      files: name to bytes, or to pixels, which the suffix encodes.
      zipped: one zip, else extracted.
    """
    files = {
        file: data if isinstance(data, bytes) else encoded(data, file.split(".")[-1])
        for file, data in files.items()
    }
    if zipped:
        write_zip(Path(folder) / name, files)
    else:
        write_folder(Path(folder), files)


def truncate(path):
    """Cuts a download off at two thirds."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def counts(items):
    """Raw pairs per (domain, split)."""
    return Counter((item.domain, item.split) for item in items)


def files_in(folder):
    """Posix paths of all pictures below a folder."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    return {path for path in paths if "/images/" in path or "/labels/" in path}


def read(path):
    """The pixels of a picture file as stored."""
    with Image.open(path) as image:
        return np.asarray(image)
