"""Malformed safetensors and NumPy files, and damage anywhere in a weight file."""

import io
import json
import random
import struct
import zipfile

import numpy as np
import pytest
from hostile_parts import archive, assert_refused, checkpoint, read_all, tensor

from weights_convert.files.open import open_weights


def safetensors(path, table, data=bytes(16), length=None):
    header = table if isinstance(table, bytes) else json.dumps(table).encode()
    size = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", size) + header + data)


def part(start, stop, shape=(2,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


BAD_TABLES = {
    "no_json": (b"{]", {}, "damaged"),
    "no_table": (b"{}[]", {}, "damaged"),
    "deep_json": (b'{"a":' + b"[" * 90_000, {}, "nested deeper than 32"),
    "huge_header": ({}, {"length": 2**60}, "header of"),
    "cut_header": ({"a": part(0, 8)}, {"length": 30}, "damaged"),
    "overlap": ({"a": part(0, 8), "b": part(4, 12)}, {}, "overlapping"),
    "same_bytes": ({"a": part(0, 8), "b": part(0, 8)}, {}, "overlapping"),
    "gap": ({"a": part(0, 8), "b": part(12, 20)}, {}, "gap"),
    "cut": ({"a": part(0, 8), "b": part(8, 16)}, {"data": bytes(9)}, "bytes"),
    "tail": ({"a": part(0, 8)}, {}, "bytes"),
    "shape": ({"a": part(0, 16, (5,))}, {}, "not its shape"),
    "huge_shape": ({"a": part(0, 16, (2**62,))}, {}, "not counts"),
    "many_axes": ({"a": part(0, 4, (1,) * 50_000)}, {}, "50000 axes"),
    "negative": ({"a": part(0, 16, (-2, -2))}, {}, "not counts"),
    "reversed": ({"a": part(16, 0)}, {}, "not its shape"),
    "type": ({"a": part(0, 16, dtype="O8")}, {}, "element type"),
    "fields": ({"a": {"dtype": "F32"}}, {}, "no dtype"),
    "twice": (
        b'{"a":%s,"a":%s}' % ((json.dumps(part(0, 8)).encode(),) * 2),
        {},
        "twice",
    ),
}


def saved(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npz_with(path, data, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", data)


def npy(header, data=bytes(16)):
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def npy_table(shape, descr="<f4"):
    return repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()


def npz_executing(path):
    objects = np.array([{1}, None], dtype=object)
    path.write_bytes(saved(a=objects))


def npz_bomb(path):
    npz_with(path, npy(npy_table((2**27,)), bytes(2**27)), zipfile.ZIP_DEFLATED)


BAD_NPZ = {
    "objects": (npz_executing, "array of numbers"),
    "text": (lambda p: p.write_bytes(saved(a=np.array(["x"]))), "array of numbers"),
    "huge_shape": (lambda p: npz_with(p, npy(npy_table((2**40,)))), "declares"),
    "short": (lambda p: npz_with(p, npy(npy_table((5,)))), "declares"),
    "tail": (lambda p: npz_with(p, npy(npy_table((3,)))), "declares"),
    "header": (lambda p: npz_with(p, npy(b"{(")), "damaged header"),
    "header_code": (lambda p: npz_with(p, npy(b"__import__('os')")), "damaged header"),
    "magic": (lambda p: npz_with(p, b"hello"), "damaged header"),
    "version": (lambda p: npz_with(p, b"\x93NUMPY\7\0"), "version"),
    "bomb": (npz_bomb, "declares"),
    "bool_shape": (lambda p: npz_with(p, npy(npy_table((True, 4)))), "counts"),
    "many_axes": (lambda p: npz_with(p, npy(npy_table((1,) * 33))), "16 counts"),
    "long_header": (
        lambda p: npz_with(p, b"\x93NUMPY\2\0" + b"\xff" * 4 + b" " * 10**6),
        "damaged header",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_safetensors_is_refused(tmp_path, case):
    table, options, message = BAD_TABLES[case]
    safetensors(tmp_path / "a.safetensors", table, **options)
    assert_refused(tmp_path / "a.safetensors", message)


@pytest.mark.parametrize("case", BAD_NPZ)
def test_npz_is_refused(tmp_path, case):
    write, message = BAD_NPZ[case]
    write(tmp_path / "a.npz")
    assert_refused(tmp_path / "a.npz", message)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_refused_unless_allowed(tmp_path, value):
    path = tmp_path / "a.npz"
    path.write_bytes(saved(good=np.ones(3), bad=np.array([1.0, value])))
    assert_refused(path, "1 NaN or infinite numbers in 'bad'")
    allowed = open_weights(path, allow_nonfinite=True).tensors
    np.testing.assert_array_equal(allowed["bad"].read(), [1.0, value])


def good_files(path):
    archive(path, checkpoint(tensor((2, 2), (2, 1))))
    yield path.read_bytes()
    safetensors(path, {"a": part(0, 8), "b": part(8, 16)})
    yield path.read_bytes()
    yield saved(a=np.arange(6.0), b=np.ones((2, 2), np.int8))


def test_damage_anywhere_gives_no_other_error(tmp_path):
    draw = random.Random(0)
    path = tmp_path / "a.bin"
    refusals = 0
    for good in list(good_files(path)):
        path.write_bytes(good)
        read_all(path)
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(draw.choice([1, 1, 4])):
                bad[draw.randrange(len(bad))] = draw.randrange(256)
            path.write_bytes(bad[: draw.choice([None, None, draw.randrange(len(bad))])])
            try:
                read_all(path)
            except ValueError as error:
                assert str(path) in str(error)
                refusals += 1
    assert refusals > 300
