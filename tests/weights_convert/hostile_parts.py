"""Pieces of pickles and archives for files that no honest program writes."""

import pickle
import time
import zipfile

import pytest

from weights_convert.files.open import open_weights


def text(value):
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value):
    return pickle.dumps(value, 2)[2:-1]


def group(*items):
    return b"(" + b"".join(items) + b"t"


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def call(module, attribute, *args):
    return name(module, attribute) + group(*args) + b"R"


def storage(count, key="0", kind="FloatStorage"):
    parts = text("storage"), name("torch", kind), text(key), text("cpu")
    return group(*parts, number(count)) + b"Q"


def tensor(shape, strides, offset=0, count=4, **where):
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage(count, **where),
        number(offset),
        number(shape),
        number(strides),
        b"\x89",
        call("collections", "OrderedDict"),
    )


def checkpoint(value, key="w"):
    """A pickle of {key: value}."""
    return b"\x80\x02}" + text(key) + value + b"s."


def archive(path, pickled, **extra):
    """A torch zip whose storage "0" holds 16 bytes."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/data/0", bytes(range(16)))
        for entry, data in extra.items():
            file.writestr(f"a/{entry}", data)


def read_all(path):
    return {key: value.read() for key, value in open_weights(path).tensors.items()}


def assert_refused(path, message):
    """Checks that `path` is refused in time, by name, with these words."""
    start = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        read_all(path)
    assert time.process_time() - start < 2
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000
