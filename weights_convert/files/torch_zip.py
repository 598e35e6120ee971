"""Reads PyTorch's zip checkpoints (`.pth`, `.pt`, `.bin`) without PyTorch.

Such a file is an uncompressed zip archive: `<name>/data.pkl` holds the objects, in
which a tensor is a shape, strides and an offset into a storage, and
`<name>/data/<key>` holds the bytes of one storage. The pickle goes through
`restricted_unpickler`, so nothing in the file is executed; storages are read one
tensor at a time and checked against the archive's CRC-32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossearth_jax.system.escape import quoted
from weights_convert.files.restricted_unpickler import MAX_BYTES, unpickle
from weights_convert.files.torch_objects import Storage, known_names
from weights_convert.files.zip_archive import (
    check_entry,
    open_zip,
    read_entry,
    read_range,
)


def read_torch_zip(path: Path) -> object:
    """Rebuilds what `torch.save` wrote, with a `LazyTensor` for every tensor.

    Args:
      path: a zip checkpoint; it must stay in place while its tensors are read.

    Returns:
      Plain containers; `Inert` stand-ins for known foreign objects.

    Raises:
      ValueError: the file is damaged, hostile or beyond what weights need; the
        message names the file and the reason. Damage inside a storage is found
        when its tensor is read.
    """
    try:
        return _Archive(path).objects()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _Archive:
    """An open checkpoint: finds storages for the pickle and reads parts of them."""

    def __init__(self, path: Path) -> None:
        self.zip = open_zip(path, compressed=False)
        names = [n for n in self.zip.namelist() if n.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise ValueError(
                f"got {len(names)} entries '<name>/data.pkl', expected one: this zip "
                "archive was not written by torch.save"
            )
        self.root = names[0].removesuffix("data.pkl")
        self.sound: set[str] = set()  # entries whose CRC-32 has been compared
        self.known = known_names(self)

    def objects(self) -> object:
        """Unpickles `data.pkl`."""
        order = self.root + "byteorder"
        if order in self.zip.namelist():
            if bytes(read_entry(self.zip, order)) != b"little":
                raise ValueError("got a big-endian checkpoint, expected little-endian")
        size = self.zip.getinfo(self.root + "data.pkl").file_size
        if size > MAX_BYTES:
            raise ValueError(f"got a pickle of {size} bytes, at most {MAX_BYTES}")
        data = bytes(read_entry(self.zip, self.root + "data.pkl"))
        return unpickle(data, self.known, self.storage)

    def read(self, entry: str, start: int, stop: int) -> np.ndarray:
        """Bytes `start:stop` of an entry, of which all is compared with its CRC-32."""
        if (start, stop) == (0, self.zip.getinfo(entry).file_size):
            return read_entry(self.zip, entry)
        if entry not in self.sound:
            check_entry(self.zip, entry)
            self.sound.add(entry)
        return read_range(self.zip, entry, start, stop)

    def storage(self, reference: object) -> Storage:
        """The storage that a persistent id of the pickle stands for."""
        match reference:
            case ("storage", np.dtype() as dtype, str(name), str(), int(count)):
                entry = f"{self.root}data/{name}"
            case _:
                raise ValueError("got an unknown kind of persistent id in the pickle")
        try:
            size = self.zip.getinfo(entry).file_size
        except KeyError:
            raise ValueError(f"got no entry {quoted(entry)} for a tensor") from None
        if size != count * dtype.itemsize:
            raise ValueError(
                f"got {size} bytes in {quoted(entry)}, expected {count} of {dtype}"
            )
        return Storage(entry, dtype, size)
