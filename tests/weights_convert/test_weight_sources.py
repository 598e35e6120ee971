"""Opening weight files by content, and finding the tensors in them."""

import hashlib
import subprocess
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from weights_convert.files.open import open_weights

torch = pytest.importorskip("torch")

TABLE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}


def opened(tmp_path, value, **options):
    torch.save(value, tmp_path / "a.pth")
    return open_weights(tmp_path / "a.pth", **options)


def test_bare_table(tmp_path):
    file = opened(tmp_path, TABLE)
    assert (file.format, file.wrapper, file.metadata) == ("torch-zip", (), {})
    assert list(file.tensors) == list(TABLE)
    np.testing.assert_array_equal(file.tensors["a.weight"].read(), TABLE["a.weight"])


@pytest.mark.parametrize("name", ["state_dict", "model"])
def test_wrapped_table(tmp_path, name):
    meta = {"classes": ("road", "tree")}
    file = opened(tmp_path, {"meta": meta, name: TABLE, "optimizer": {"w": TABLE["b"]}})
    assert file.wrapper == (name,)
    assert list(file.tensors) == list(TABLE)
    assert file.metadata["meta"] == meta
    assert list(file.metadata) == ["meta", "optimizer"]


def test_lightning_settings_are_stood_for(tmp_path, monkeypatch):
    name = "lightning.fabric.utilities.data"
    module = types.ModuleType(name)
    kind = type("AttributeDict", (dict,), {"__module__": name})
    module.AttributeDict = kind
    for part in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    value = {"state_dict": TABLE, "hyper_parameters": kind(lr=0.1, size=(2, 3))}
    file = opened(tmp_path, value)
    assert list(file.tensors) == list(TABLE)
    assert file.metadata["hyper_parameters"].origin == f"{name} AttributeDict"


def test_tables_within_tables(tmp_path):
    inner = {"model": {"teacher": TABLE, "student": TABLE}, "epoch": 3}
    file = opened(tmp_path, inner, every_table=True)
    assert file.wrapper == ("model.teacher",)  # one object, saved under two names
    other = {key: tensor + 1 for key, tensor in TABLE.items()}
    inner["model"]["student"] = other
    file = opened(tmp_path, inner, every_table=True)
    assert file.wrapper == ("model.teacher", "model.student")
    assert "model.student.a.weight" in file.tensors
    assert file.metadata == {"epoch": 3}


def test_several_tables_keep_their_names(tmp_path):
    file = opened(tmp_path, {"first": TABLE, "second": TABLE, "epoch": 3})
    assert file.wrapper == ("first", "second")
    assert list(file.tensors) == [
        f"{n}.{k}" for n in ("first", "second") for k in TABLE
    ]
    assert file.metadata == {"epoch": 3}


def test_two_usual_tables_need_a_choice(tmp_path):
    both = {"state_dict": TABLE, "model": {"c": TABLE["b"]}}
    with pytest.raises(ValueError, match="choose one"):
        opened(tmp_path, both)
    assert list(opened(tmp_path, both, wrapper="model").tensors) == ["c"]
    with pytest.raises(ValueError, match="the entry 'teacher'"):
        opened(tmp_path, both, wrapper="teacher")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"state_dict": {"a": TABLE["b"], "b": 3}}, r"not named tensors: \['b'\]"),
        ({"state_dict": {}}, "no table"),
        ({"w": TABLE["b"], "epoch": 3}, "expected tensors"),
        ({1: TABLE["b"]}, "not named tensors"),
        ([TABLE["b"]], "got a list"),
        ({"x": {"y.z": TABLE["b"]}, "x.y": {"z": TABLE["b"]}}, "expected tensors"),
    ],
)
def test_unclear_tables_are_refused(tmp_path, value, message):
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, value)


def test_legacy_file(tmp_path):
    path = tmp_path / "a.pth"
    value = {"half": torch.ones(3, dtype=torch.bfloat16), "view": torch.eye(3)[1:, 1]}
    torch.save({"model": value}, path, _use_new_zipfile_serialization=False)
    file = open_weights(path)
    assert file.format == "torch-legacy"
    assert file.tensors["half"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(file.tensors["view"].read(), [1, 0])


def test_legacy_file_is_read_without_torch(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    torch.save(TABLE, path, _use_new_zipfile_serialization=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert set(open_weights(path).tensors) == set(TABLE)


def test_safetensors(tmp_path):
    path = tmp_path / "a.bin"  # the content counts, not the name
    arrays = {
        "double": np.linspace(0, 1, 5),
        "long": np.array([2**40, -1]),
        "half": np.arange(4, dtype=ml_dtypes.bfloat16).reshape(2, 2),
        "scalar": np.array(3, np.float32),
        "none": np.zeros((0, 3), np.float16),
    }
    save_file(arrays, path, metadata={"format": "pt"})
    file = open_weights(path)
    assert (file.format, file.metadata) == ("safetensors", {"format": "pt"})
    assert set(file.tensors) == set(arrays)
    for name, array in arrays.items():
        got = file.tensors[name].read()
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    path = tmp_path / "a.npz"
    arrays = {
        "a/b": np.arange(6).reshape(2, 3).T,
        "big": np.arange(3, dtype=">f4"),
        "scalar": np.float32(2),
    }
    save(path, **arrays)
    file = open_weights(path)
    assert file.format == "npz"
    for name, array in arrays.items():
        got = file.tensors[name].read()
        assert got.dtype.isnative
        np.testing.assert_array_equal(got, array, strict=name != "big")


def test_sha256(tmp_path):
    file = opened(tmp_path, TABLE)
    expected = hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()
    assert file.sha256 == expected


def test_reading_a_zip_needs_no_torch(tmp_path):
    torch.save(TABLE, tmp_path / "a.pth")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from weights_convert.files.open import open_weights\n"
        "print(open_weights(sys.argv[1]).tensors['a.weight'].read().sum())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.pth")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "15.0\n"
