"""Malformed and hostile weight files: a clear error at once, nothing executed."""

import pickle
import stat
import struct
import zipfile

import pytest
from hostile_parts import (
    archive,
    assert_refused,
    call,
    checkpoint,
    group,
    name,
    number,
    tensor,
    text,
)

from weights_convert.files.restricted_unpickler import FREE, MAX_COUNTED, PER_BYTE

GOOD = checkpoint(tensor((2, 2), (2, 1)))
PROTO = b"\x80\x02"


def import_of(module, attribute, *args):
    return checkpoint(call(module, attribute, *args))


def again(builder, argument, times):
    """A pickle that calls a builder with one memoised argument, again and again."""
    head = PROTO + argument + b"q\0" + name(*builder) + b"q\1"
    return head + b"h\1h\0\x85R" * times + b"."


NUMBERS = b"](" + b"".join(number(i) for i in range(50_000)) + b"e"
PAIRS = b"](" + b"".join(number(i) + b"N\x86" for i in range(20_000)) + b"e"
LONG = b"\x8b" + (2**20).to_bytes(4, "little") + b"\1" * 2**20
BOMBS = {  # what they would make stands far above what they take on the disk
    "long": (PROTO + b"]" * (FREE + PER_BYTE * MAX_COUNTED) + b".", "far more"),
    "sets": (again(("builtins", "set"), NUMBERS, 60_000), "far more"),
    "hidden": (again(("builtins", "set"), NUMBERS + b"\x85", 60_000), "far more|key"),
    "dicts": (again(("collections", "OrderedDict"), PAIRS, 60_000), "far more"),
    "texts": (PROTO + text("x" * 2**20) + b"q\0" + b"h\0" * 300_000 + b".", "far more"),
    "long_keys": (PROTO + LONG + b"q\0}(" + b"h\0N" * 60_000 + b"u.", "far more|key"),
    "whole_tuple": (
        PROTO
        + NUMBERS
        + b"\x85q\0"
        + name("builtins", "set")
        + b"q\1"
        + b"h\1h\0R" * 60_000
        + b".",
        "far more",
    ),
}


def pickles(canary):
    """Pickles, by what they try; the error must say the word beside them."""
    touch, code = text(f"touch {canary}"), text(f"open({str(canary)!r}, 'w')")
    system = name("os", "system")
    popen = number(["touch", str(canary)])
    getter = call("builtins", "getattr", name("torch", "Size"), text("__init__"))
    inner = PROTO + call("os", "system", touch) + b"."
    nest = b")" + b"\x85" * 1000
    hook = call("numpy", "dtype", text("O8"), b"\x89", b"\x88")
    return {
        "os_system": (import_of("os", "system", touch), r"'os\.system'"),
        "posix_system": (import_of("posix", "system", touch), r"'posix\.system'"),
        "eval": (import_of("builtins", "eval", code), r"'builtins\.eval'"),
        "eval_python2": (import_of("__builtin__", "eval", code), r"builtin__\.eval'"),
        "exec": (import_of("builtins", "exec", code), r"'builtins\.exec'"),
        "popen": (import_of("subprocess", "Popen", popen), r"'subprocess\.Popen'"),
        "import": (import_of("builtins", "__import__", text("os")), "__import__"),
        "runpy": (import_of("runpy", "run_path", text("x.py")), r"'runpy\.run_path'"),
        "getattr": (checkpoint(getter), r"'builtins\.getattr'"),
        "nested_load": (
            import_of("torch.storage", "_load_from_bytes", number(inner)),
            "_load_from_bytes",
        ),
        "torch_load": (import_of("torch", "load", text("x.pth")), r"'torch\.load'"),
        "only_named": (checkpoint(system), r"'os\.system'"),
        "dotted": (
            PROTO + text("torch") + text("serialization.os.system") + b"\x93.",
            r"serialization\.os\.system",
        ),
        "inst": (
            PROTO + b"(" + touch + b"ios\nsystem\n.",
            "operation INST",
        ),
        "obj": (PROTO + b"(" + name("torch", "Size") + touch + b"o.", "operation OBJ"),
        "ext": (PROTO + b"\x82\x01.", "operation EXT1"),
        "newobj_ex": (
            PROTO + name("torch", "Size") + b")}\x92.",
            "operation NEWOBJ_EX",
        ),
        "reduce_of_data": (PROTO + text("x") + b")R.", "got a str"),
        "build_on_builder": (
            PROTO
            + name("collections", "OrderedDict")
            + b"}"
            + text("x")
            + b"Ns"
            + b"b.",
            "sets attributes",
        ),
        "build_on_tensor": (
            PROTO + tensor((4,), (1,)) + b"}" + text("load") + b"Nsb.",
            "sets attributes",
        ),
        "object_array": (checkpoint(hook), "Python objects"),
        "not_a_storage": (
            checkpoint(
                call("torch._utils", "_rebuild_tensor_v2", *[number((4,))] * 6),
            ),
            "expected Storage",
        ),
        "strange_persistent_id": (PROTO + text("x") + b"Q.", "persistent id"),
        "deep": (checkpoint(nest), "nested deeper"),
        "cycle": (PROTO + b"]q\x00h\x00a.", "holds itself"),
        "tuple_key": (PROTO + b"})Ns.", "as a key"),
        **BOMBS,
        "underflow": (PROTO + b"a.", "malformed"),
        "no_mark": (PROTO + b"t.", "malformed"),
        "no_memo": (PROTO + b"h\x07.", "malformed"),
        "cut": (GOOD[:-10], "pickle exhausted|expected|bytes|string"),
        "no_end": (GOOD[:-1], "pickle exhausted"),
        "behind_the_end": (GOOD + inner, "behind the end"),
        "unknown_operation": (PROTO + b"\xff.", "unknown"),
        "huge_string": (PROTO + b"X\xff\xff\xff\x7fab.", "got a value of"),
        "huge_bytes": (PROTO + b"\x8e" + bytes(5) + b"\1\0\0ab.", "got a value of"),
        "no_table": (PROTO + b"N.", "expected a table"),
        "no_tensors": (PROTO + b"}" + text("w") + b"Ns.", "expected tensors"),
        "number_among_tensors": (
            PROTO + b"}" + text("model") + GOOD[2:-1] + text("v") + b"Nss.",
            "not named tensors",
        ),
        "sparse": (
            import_of("torch._utils", "_rebuild_sparse_tensor", b"N", group()),
            "_rebuild_sparse_tensor",
        ),
    }


PICKLES = sorted(pickles("canary"))
TENSORS = {
    "zero_stride": (tensor((2**40,), (0,)), "repeats"),
    "zero_stride_small": (tensor((5,), (0,)), "repeats"),
    "overlap": (tensor((3, 3), (1, 1)), "repeats"),
    "huge_shape": (tensor((2**31, 2**31), (2**31, 1)), "fit"),
    "shape_over_all": (tensor((2**70,), (1,)), "not counts"),
    "negative_stride": (tensor((2,), (-1,)), "not counts"),
    "negative_offset": (tensor((2,), (1,), offset=-4), "not counts"),
    "negative_shape": (tensor((-2, -2), (2, 1)), "not counts"),
    "offset_beyond": (tensor((2,), (1,), offset=3), "fit"),
    "stride_beyond": (tensor((2, 2), (3, 1)), "fit"),
    "axes_disagree": (tensor((2, 2), (1,)), "strides"),
    "many_axes": (tensor((1,) * 65, (1,) * 65), "more than 16 axes"),
    "empty_but_huge": (tensor((0, 2**40), (1, 1)), "fit"),
    "float_shape": (tensor((2.0,), (1,)), "not counts"),
    "bool_shape": (tensor((True,), (1,)), "not counts"),
    "list_shape": (tensor([2], [1]), "expected tuple"),
    "missing_storage": (tensor((4,), (1,), key="7"), "no entry"),
    "storage_outside": (tensor((4,), (1,), key="../../etc/passwd"), "no entry"),
    "count_too_large": (tensor((4,), (1,), count=2**40), "expected"),
    "count_too_small": (tensor((2,), (1,), count=2), "expected"),
    "other_type": (tensor((4,), (1,), kind="DoubleStorage"), "expected 4 of float64"),
    "quantised": (tensor((4,), (1,), kind="QInt8Storage"), "QInt8Storage"),
}


def compressed(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", GOOD)
        file.writestr("a/data/0", bytes(2**24))


def entry(path, info, data=b"x"):
    archive(path, GOOD)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(info, data)


def symlink(path):
    info = zipfile.ZipInfo("a/data/1")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    entry(path, info, b"/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def duplicate(path):
    entry(path, "a/data/0", bytes(16))


def patched(path, old, new, count=-1):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))


def flipped_bit(path):
    archive(path, GOOD)
    patched(path, bytes(range(16)), bytes([0, 1, 2, 3, 4, 5, 6, 15, *range(8, 16)]))


def flipped_bit_elsewhere_in_storage(path):
    archive(path, checkpoint(tensor((1,), (1,))))
    patched(path, bytes(range(16)), bytes([*range(15), 14]))


def huge_size(path):
    archive(path, GOOD)
    sizes = struct.pack("<2L", 16, 16)
    patched(path, sizes, struct.pack("<2L", 2**31, 2**31))


def sizes_disagree(path):
    archive(path, GOOD)
    patched(path, struct.pack("<2L", 16, 16), struct.pack("<2L", 16, 2**31))


def encrypted(path):
    archive(path, GOOD)
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")
    path.write_bytes(data[: at + 8] + b"\1" + data[at + 9 :])


def truncated(path):
    archive(path, GOOD)
    path.write_bytes(path.read_bytes()[:-30])


def without_tail(path):
    archive(path, GOOD)
    path.write_bytes(path.read_bytes()[:100])


def with_flag(bit):
    """Flag bits that Python's zip reader knows and does not take."""

    def write(path):
        archive(path, GOOD)
        data = path.read_bytes()
        at = data.index(b"PK\x01\x02") + 8
        path.write_bytes(data[:at] + bytes([data[at] | 1 << bit]) + data[at + 1 :])

    return write


def many_entries(path):
    with zipfile.ZipFile(path, "w") as file:
        for i in range(14_000):
            file.writestr(f"archive/data/{i:0270d}", b"")


def without_pickle(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/readme.txt", "hello")


def two_pickles(path):
    entry(path, "b/data.pkl", GOOD)


def directory(path):
    path.mkdir()


def big_endian(path):
    archive(path, GOOD, byteorder=b"big")


ARCHIVES = {
    "truncated": (truncated, "truncated or damaged"),
    "without_tail": (without_tail, "truncated or damaged"),
    "compressed": (compressed, "compressed"),
    "path_traversal": (lambda p: entry(p, "../../evil"), "leaves the archive"),
    "absolute_path": (lambda p: entry(p, "/tmp/evil"), "leaves the archive"),
    "backslash": (lambda p: entry(p, "..\\evil"), "leaves the archive"),
    "symlink": (symlink, "symbolic link"),
    "duplicate": (duplicate, "two entries"),
    "flipped_bit": (flipped_bit, "CRC-32"),
    "flipped_bit_elsewhere_in_storage": (flipped_bit_elsewhere_in_storage, "CRC-32"),
    "huge_size": (huge_size, "declares|truncated or damaged"),
    "sizes_disagree": (sizes_disagree, "sizes disagree|truncated or damaged"),
    "encrypted": (encrypted, "encrypted"),
    "patched": (with_flag(5), "patched"),
    "hidden": (with_flag(6), "patched"),
    "many_entries": (many_entries, "table of contents"),
    "without_pickle": (without_pickle, "torch.save"),
    "two_pickles": (two_pickles, "2 entries"),
    "big_endian": (big_endian, "big-endian"),
    "empty": (lambda p: p.write_bytes(b""), "starts with b''"),
    "magic": (lambda p: p.write_bytes(b"GIF89a" + bytes(99)), "starts with b'GIF89a"),
    "html": (lambda p: p.write_text("<!DOCTYPE html>"), "starts with"),
    "directory": (directory, "no regular file"),
    "missing": (lambda p: None, "no such file"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_pickle_is_refused_and_not_executed(tmp_path, case):
    canary = tmp_path / "canary"
    pickled, message = pickles(canary)[case]
    archive(tmp_path / "a.pth", pickled)
    assert_refused(tmp_path / "a.pth", message)
    assert not canary.exists()


def test_canary_shows_execution(tmp_path):
    """The pickles above do run code where another reader takes them."""
    canary = tmp_path / "canary"
    pickle.loads(pickles(canary)["os_system"][0])
    assert canary.exists()


@pytest.mark.parametrize("case", TENSORS)
def test_geometry_is_refused(tmp_path, case):
    pickled, message = TENSORS[case]
    archive(tmp_path / "a.pth", checkpoint(pickled))
    assert_refused(tmp_path / "a.pth", message)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", ARCHIVES)
def test_archive_is_refused(tmp_path, case):
    write, message = ARCHIVES[case]
    write(tmp_path / "a.pth")
    assert_refused(tmp_path / "a.pth", message)


def test_legacy_pickle_is_refused_and_not_executed(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "a.pth"
    path.write_bytes(pickles(canary)["os_system"][0])
    assert_refused(path, r"'os\.system'")
    assert not canary.exists()
