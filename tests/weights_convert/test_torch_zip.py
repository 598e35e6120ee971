"""Good PyTorch files: the same objects and numbers as torch.load gives."""

import argparse
import pathlib
import sys
import tracemalloc
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from outside import FIXTURES, needs_fixtures

from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import open_weights
from weights_convert.files.restricted_unpickler import Inert
from weights_convert.files.torch_objects import DTYPES
from weights_convert.files.torch_zip import read_torch_zip
from weights_convert.mapping import apply_rules, rule
from weights_convert.transforms import LINEAR

torch = pytest.importorskip("torch")


def to_numpy(tensor):
    """Independent of the reader: through PyTorch's own bytes."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
    return np.frombuffer(raw, dtype).reshape(tuple(tensor.shape))


def assert_same(got, expected):
    if isinstance(expected, torch.Tensor):
        array, wanted = got.read(), to_numpy(expected)
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype)
        assert array.tobytes() == wanted.tobytes()
        assert got.nbytes == wanted.nbytes
    elif isinstance(expected, dict):
        assert type(got) is type(expected)
        assert list(got) == list(expected)
        for key in expected:
            assert_same(got[key], expected[key])
        if hasattr(expected, "_metadata"):
            assert got._metadata == expected._metadata
    elif isinstance(expected, list | tuple) and not isinstance(expected, torch.Size):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for pair in zip(got, expected, strict=True):
            assert_same(*pair)
    else:
        assert got == expected


def round_trip(tmp_path, value, **options):
    path = tmp_path / "a.pth"
    torch.save(value, path, **options)
    return read_torch_zip(path)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_every_type_bit_for_bit(tmp_path, name, shape):
    dtype = getattr(torch, name)
    count = int(np.prod(shape)) * dtype.itemsize
    raw = torch.arange(count, dtype=torch.uint8) * 37 + 5
    raw = raw % 2 if name == "bool" else raw
    tensor = raw.view(dtype).reshape(shape) if count else torch.zeros(shape).to(dtype)
    assert_same(round_trip(tmp_path, {"w": tensor}), {"w": tensor})


def test_views_share_storages(tmp_path):
    base = torch.arange(120.0).reshape(4, 5, 6)
    views = {
        "whole": base,
        "slice": base[1:3, 2:, ::2],
        "transposed": base.transpose(0, 2),
        "row": base[3, 4],
        "scalar": base[2, 2, 2],
        "none": base[4:],
        "column": base[:, :1, 3],
        "one": torch.ones(1).expand(1, 1),
        "complex": (base[0] + 1j * base[1]).conj(),
        "imaginary": (base[0] + 1j * base[1]).conj().imag,
    }
    assert_same(round_trip(tmp_path, views), views)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers(tmp_path, protocol):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    value = {
        "state_dict": model.state_dict(),  # an OrderedDict with _metadata
        "parameter": model[0].weight,
        "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
        "size": torch.Size([1, 2]),
        "numbers": [1, -(2**40), 2**80, 1.5, True, None, "é", b"\0\xff", 1j],
        "nested": {"a": ({1, 2}, [], {}), 3: (), "order": OrderedDict(b=1, a=2)},
    }
    got = round_trip(tmp_path, value, pickle_protocol=protocol)
    assert_same(got, value)


@pytest.fixture
def history_buffer():
    """A class where mmengine has its own, gone after the test."""
    module = types.ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self, values):
            self._log_history = np.array(values)

    HistoryBuffer.__module__ = module.__name__
    HistoryBuffer.__qualname__ = "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer
    names = ["mmengine", "mmengine.logging", module.__name__]
    sys.modules |= dict.fromkeys(names, module)
    yield HistoryBuffer
    for name in names:
        del sys.modules[name]


def test_foreign_objects_stay_inert(tmp_path, history_buffer):
    value = {
        "state_dict": {"w": torch.ones(2)},
        "message_hub": {"log_scalars": OrderedDict(loss=history_buffer([1.0, 2.0]))},
        "meta": {"lr": np.float64(0.5), "seen": np.arange(3), "where": Path("/x/y")},
        "args": argparse.Namespace(lr=1),
        "device": torch.device("cpu"),
    }
    got = round_trip(tmp_path, value)
    assert_same(got["state_dict"], value["state_dict"])
    buffer = got["message_hub"]["log_scalars"]["loss"]
    assert type(buffer) is Inert
    assert buffer.origin == "mmengine.logging.history_buffer HistoryBuffer"
    assert list(buffer.state) == ["_log_history"]
    assert type(got["meta"]["lr"]) is type(got["meta"]["seen"]) is Inert
    assert got["meta"]["where"].origin.startswith(pathlib.__name__)
    assert got["args"].state == {"lr": 1}
    assert got["device"].args == ("cpu",)


def test_other_classes_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"a\.pth.*'datetime\.date'"):
        import datetime

        round_trip(tmp_path, {"when": datetime.date(2024, 1, 1)})


def test_repeating_view_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"call \.contiguous\(\)"):
        round_trip(tmp_path, {"w": torch.zeros(1).expand(5)})


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_memory_stays_near_the_file(tmp_path, suffix):
    from safetensors.torch import save_file

    side, path = 512, tmp_path / f"a{suffix}"
    weights = {f"w{i}": torch.randn(side, side) for i in range(24)}
    if suffix == ".pth":
        torch.save(weights, path)
    elif suffix == ".npz":
        np.savez(path, **{name: to_numpy(tensor) for name, tensor in weights.items()})
    else:
        save_file(weights, path)
    tracemalloc.start()
    source = open_weights(path).tensors
    after_opening = tracemalloc.get_traced_memory()[1]
    made = apply_rules(source, [rule("w{i}", "v.{i}", LINEAR)], None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(made["v.7"], to_numpy(weights["w7"]).T)
    assert after_opening < 2**20
    assert peak < 1.2 * path.stat().st_size


def test_a_part_is_read_without_its_storage(tmp_path):
    base = torch.randn(2**22)
    source = round_trip(tmp_path, {"a": base[5:9], "b": base[2**21 : 2**21 + 3]})
    tracemalloc.start()
    np.testing.assert_array_equal(source["a"].read(), to_numpy(base[5:9]))
    np.testing.assert_array_equal(source["b"].read(), to_numpy(base[2**21 :])[:3])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24  # of 2**24 bytes, in chunks


AUTHORS = "tiny_segmentor.pth", "tiny_segmentor_official_state_dict.pth", "style.pth"


@needs_fixtures(*AUTHORS)
@pytest.mark.parametrize("name", AUTHORS)
def test_authors_checkpoints(name):
    path = FIXTURES / name
    assert_same(read_torch_zip(path), torch.load(path, weights_only=True))


def test_announced_shape_is_kept():
    wrong = LazyTensor((2,), np.dtype("f4"), lambda: np.zeros(3, "f4"))
    with pytest.raises(ValueError, match="changed while it was read"):
        wrong.read()
