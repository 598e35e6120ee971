"""Checkpoints of PyTorch before 1.6: read by the same rules as the newer ones."""

import pickle
import struct

import numpy as np
import pytest
from hostile_parts import (
    archive,
    assert_refused,
    call,
    checkpoint,
    name,
    number,
    tensor,
)

from weights_convert.files.open import open_weights
from weights_convert.files.torch_legacy import MAGIC, VERSION

SYSTEM = {"little_endian": True, "protocol_version": VERSION, "type_sizes": {}}


def legacy(path, content, *, keys=("0",), count=4, system=SYSTEM, data=bytes(16)):
    """The five pickles, then one storage."""
    heads = (pickle.dumps(part, 2) for part in (MAGIC, VERSION, system))
    names = pickle.dumps(list(keys), 2)
    path.write_bytes(
        b"".join(heads) + content + names + struct.pack("<Q", count) + data
    )


GOOD = checkpoint(tensor((2, 2), (2, 1)))
BAD = {
    "import": (
        {"content": checkpoint(call("os", "system", number("true")))},
        r"'os\.system'",
    ),
    "import_in_names": (
        {"content": GOOD + b"\x80\x02" + name("os", "system") + b"."},
        r"'os\.system'",
    ),
    "big_endian": ({"system": {"little_endian": False}}, "big-endian"),
    "no_facts": ({"system": []}, "big-endian"),
    "other_names": ({"keys": ("1",)}, "other storages"),
    "names_twice": ({"keys": ("0", "0")}, "other storages"),
    "no_names": ({"keys": ([],)}, "other storages"),
    "count": ({"count": 2**40}, "elements in the storage"),
    "short": ({"data": bytes(15)}, "expected"),
    "tail": ({"data": bytes(17)}, "expected"),
    "huge": ({"content": checkpoint(tensor((2**40,), (1,), count=2**40))}, "elements"),
    "cut": ({"content": GOOD[:-9]}, "pickle|malformed|got"),
}


def test_a_good_file(tmp_path):
    numbers = np.arange(4, dtype=np.float32)
    legacy(tmp_path / "a.pth", GOOD, data=numbers.tobytes())
    read = open_weights(tmp_path / "a.pth").tensors["w"].read()
    np.testing.assert_array_equal(read, numbers.reshape(2, 2))


@pytest.mark.parametrize("case", BAD)
def test_it_is_refused(tmp_path, case):
    options, message = BAD[case]
    legacy(tmp_path / "a.pth", **{"content": GOOD, **options})
    assert_refused(tmp_path / "a.pth", message)


def test_another_magic_number(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps(7, 2))
    assert_refused(tmp_path / "a.pth", "torch.save did not write")


def test_a_zip_bomb_has_no_other_way_in(tmp_path):
    """The pickle that a zip checkpoint is refused for is refused here too."""
    numbers = b"](" + b"".join(number(i) for i in range(50_000)) + b"e"
    bomb = b"\x80\x02" + numbers + b"q\0" + name("builtins", "set") + b"q\1"
    bomb += b"h\1h\0\x85R" * 60_000 + b"."
    archive(tmp_path / "a.pth", bomb)
    assert_refused(tmp_path / "a.pth", "far more")
    legacy(tmp_path / "b.pth", bomb)
    assert_refused(tmp_path / "b.pth", "far more")
