"""JSON lines, NumPy archives and seals that are damaged end in one error."""

import hashlib
import json
import zipfile

import numpy as np
import pytest

from crossearth_jax.run import seal
from crossearth_jax.system.read_json import parse_json, read_json, read_json_lines
from crossearth_jax.system.read_npz import read_npz


def test_json_is_bounded(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": ["x" * 100]}))
    assert read_json(path) == {"a": ["x" * 100]}
    with pytest.raises(ValueError, match="more than 50 bytes"):
        read_json(path, max_bytes=50)
    for text in ("[" * 10**6, "[" * 33 + "]" * 33):
        with pytest.raises(ValueError, match="deeper"):
            parse_json(text)
    assert parse_json("[" * 32 + "]" * 32)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 1}\n[]\n', "line 2: got a list"),
        ('{"step": 1}\n\n{"step', "line 3: "),
        ("\xff\n", "line 1: "),
        ('"' + "x" * 2**21 + '"\n', "line 1: "),
    ],
)
def test_lines_of_json(tmp_path, text, message):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=message):
        read_json_lines(path)


def test_numpy_archives(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(3), b=np.zeros(10**6))
    assert read_npz(path)["a"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="declares 8,000"):
        read_npz(path, max_bytes=10**6)
    np.savez(path, a=np.array([{1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as file:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,)}"
        file.writestr("a.npy", b"\x93NUMPY\1\0" + bytes([len(header), 0]) + header)
    with pytest.raises(ValueError):
        read_npz(path)
    path.write_bytes(b"PK\3\4")
    with pytest.raises(ValueError):
        read_npz(path)


@pytest.mark.parametrize("content", [[], {"files": []}, {"files": {"a": 3}}, {}])
def test_a_seal_of_another_shape(tmp_path, content):
    text = json.dumps(content)
    digest = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
    (tmp_path / seal.NAME).write_text(f"{digest}\n{text}")
    assert seal.damage(tmp_path) == "seal.json is no seal: it lists no files"
