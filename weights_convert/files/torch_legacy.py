"""Reads checkpoints of PyTorch before 1.6: several pickles, then the storages' numbers.

Such a file holds a magic number, a version, facts about the machine, the objects and
the names of the storages, each as a pickle of its own, and for every storage, in the
order of the names, its length and its numbers. The pickles go through
`restricted_unpickler` as those of zip checkpoints do; there are no checksums.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from crossearth_jax.system.escape import quoted
from weights_convert.files.restricted_unpickler import MAX_BYTES, Budget, unpickle_next
from weights_convert.files.torch_objects import Storage, known_names

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
_LENGTH = 8  # bytes of the number of elements before a storage


def read_torch_legacy(path: Path) -> object:
    """Rebuilds the objects of a file that is no zip archive.

    Args:
      path: the checkpoint; it must stay in place while its tensors are read.

    Returns:
      As `read_torch_zip`.

    Raises:
      ValueError: the file is damaged, hostile, of another machine's byte order or
        older than 2017; the message names the file and the reason.
    """
    try:
        return _Legacy(path).content
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class _Legacy:
    """An opened file: its objects, and where its storages lie."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, Storage] = {}  # as the objects have them
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = io.BytesIO(file.read(MAX_BYTES))
            budget, known = Budget(size), known_names(self)

            def following() -> object:
                return unpickle_next(head, budget, known, self.storage)

            if following() != MAGIC or following() != VERSION:
                raise ValueError(
                    "got a pickle that torch.save did not write: save the state_dict "
                    "with PyTorch again"
                )
            machine = following()
            if not isinstance(machine, dict) or not machine.get("little_endian"):
                raise ValueError("got a big-endian checkpoint, expected little-endian")
            self.content = following()
            self.places = self._places(file, following(), head.tell())
        ends = [place + self.sizes[name].nbytes for name, place in self.places.items()]
        if (end := max([head.tell(), *ends])) != size:
            raise ValueError(f"got {size} bytes, expected {end}: download it again")

    def storage(self, reference: object) -> Storage:
        """The storage that a persistent id stands for; its length is checked later."""
        match reference:
            case ("storage", np.dtype() as dtype, str(name), str(), int(count), *view):
                pass
            case _:
                raise ValueError("got an unknown kind of persistent id in the pickle")
        if any(view) or len(view) > 1 or not 0 <= count < 2**48:
            raise ValueError("got a storage that is a view or has no count of elements")
        storage = Storage(name, dtype, count * dtype.itemsize)
        if self.sizes.setdefault(name, storage) != storage:
            raise ValueError(f"got two storages of the name {quoted(name)}")
        return storage

    def _places(
        self, file: io.BufferedReader, names: object, at: int
    ) -> dict[str, int]:
        """Position of the first byte of every storage, in the file's order."""
        if not isinstance(names, list) or sorted(self.sizes) != sorted(
            name for name in names if isinstance(name, str)
        ):
            raise ValueError("got other storages than the tensors have")
        places: dict[str, int] = {}
        for name in names:
            storage = self.sizes[name]
            file.seek(at)
            count = int.from_bytes(file.read(_LENGTH), "little")
            if count * storage.dtype.itemsize != storage.nbytes:
                raise ValueError(
                    f"got {count} elements in the storage {quoted(name)}, expected "
                    f"{storage.nbytes // storage.dtype.itemsize}: download it again"
                )
            places[name] = at + _LENGTH
            at += _LENGTH + storage.nbytes
        return places

    def read(self, entry: str, start: int, stop: int) -> np.ndarray:
        """Bytes `start:stop` of a storage."""
        data = np.fromfile(
            self.path, np.uint8, stop - start, offset=self.places[entry] + start
        )
        if len(data) != stop - start:
            raise ValueError(f"{self.path}: it became shorter while it was read")
        return data
