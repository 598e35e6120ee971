"""Random damage to real files, and random content: no traceback, no long work."""

import json
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.reliability import hostile, hostile_attacks
from benchmarks.reliability.hostile import FORMATS
from benchmarks.reliability.hostile_files import (
    _take_lock,
    read_converted,
    read_weights,
    report,
)
from benchmarks.reliability.hostile_mutations import mutated
from crossearth_jax.commands.predict_summary import read_summary
from crossearth_jax.data.class_file import read_class_file
from crossearth_jax.predict.stac import items_of
from crossearth_jax.report.check_report import check_report
from crossearth_jax.report.score_table import score_table
from crossearth_jax.system.escape import error_line
from weights_convert.files.restricted_unpickler import unpickle
from weights_convert.files.torch_objects import known_names

pytestmark = pytest.mark.slow

SEEDS = (0, 5_000, 13_470)  # those that found something, and the first


@pytest.mark.parametrize("kind", FORMATS)
def test_sound_files_are_read_and_cut_ones_refused(tmp_path, kind):
    path = tmp_path / FORMATS[kind].name
    FORMATS[kind].make(path)
    sound = path.read_bytes()
    assert hostile.attempt(FORMATS[kind], path) is False
    for share in (0, 1, 2, 3):
        path.write_bytes(sound[: len(sound) * share // 4])
        assert hostile.attempt(FORMATS[kind], path) in (True, False)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_few_mutations(tmp_path, seed):
    outcomes = [
        outcome for *_, outcome in hostile.run(tmp_path, 2 * len(FORMATS), seed)
    ]
    assert not [str(one) for one in outcomes if isinstance(one, hostile.Failure)]
    assert outcomes.count(True) > 20


@pytest.mark.slow
def test_two_thousand_mutations(tmp_path):
    outcomes = [outcome for *_, outcome in hostile.run(tmp_path, 2_000, 0)]
    assert not [str(one) for one in outcomes if isinstance(one, hostile.Failure)]
    assert outcomes.count(True) > 1_000


def test_mutations_repeat_by_their_seed():
    kind = FORMATS["class JSON"]
    first, again = (mutated(kind, b'{"a": [1, 2]}', random.Random(7)) for _ in range(2))
    assert first == again != b'{"a": [1, 2]}'


OPCODES = st.sampled_from(
    [
        *(
            b"(",
            b"t",
            b"0",
            b"]",
            b"}",
            b")",
            b"e",
            b"u",
            b"s",
            b"a",
            b"R",
            b"b",
            b"\x81",
        ),
        *(b"q\0", b"q\1", b"h\0", b"h\1", b"\x94", b"N", b"\x88", b"\x85", b"\x86"),
        *(
            b"K\1",
            b"M\1\1",
            b"\x8a\1\5",
            b"X\1\0\0\0x",
            b"Q",
            b"\x8f",
            b"\x90",
            b"\x91",
        ),
        *(b"cbuiltins\nset\n", b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n"),
        *(b"cos\nsystem\n", b"\x93", b"."),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(OPCODES, max_size=60))
def test_random_programs_of_a_pickle(codes):
    try:
        unpickle(
            b"\x80\x02" + b"".join(codes) + b".", known_names(None), lambda ref: ref
        )
    except ValueError as error:
        assert len(str(error)) < 700


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["here", "role", "IoU", "x"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_value_in_a_report(data):
    found = report()
    place = data.draw(st.sampled_from(["classes", "domains", "about"]))
    if place == "domains" and data.draw(st.booleans()):
        domain = found["domains"]["far"]
        domain[data.draw(st.sampled_from(sorted(domain)))] = data.draw(JSON)
    else:
        found[place] = data.draw(JSON)
    try:
        check_report(found)
    except ValueError as error:
        assert len(str(error)) < 1_000
    else:
        assert score_table(found).as_text()


READERS = {
    "STAC": (
        "a.json",
        lambda value: json.dumps(
            {"type": "FeatureCollection", "features": [{"id": "a", "assets": value}]}
        ).encode(),
        lambda path: items_of(str(path)),
    ),
    "safetensors": (
        "a.safetensors",
        lambda value: _with_length(json.dumps({"a": value}).encode()),
        read_weights,
    ),
    "converted": (
        "a.safetensors",
        lambda value: _with_length(json.dumps({"__metadata__": value}).encode()),
        read_converted,
    ),
    "summary": (
        "summary.json",
        lambda value: json.dumps(
            {"made_by": "crossearth predict", "scenes": [value]}
        ).encode(),
        lambda path: read_summary((path, path.with_suffix(".csv")), overwrite=True),
    ),
    "lock": ("lock.json", lambda value: json.dumps(value).encode(), _take_lock),
}


def _with_length(header):
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_any_value_in_other_json(tmp_path_factory, reader, value):
    name, write, read = READERS[reader]
    path = tmp_path_factory.getbasetemp() / f"any_{reader}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(write(value))
    try:
        read(path)
    except ValueError as error:
        assert len(error_line(error)) < 1_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *"-:[]{},&*!|>'\"%@`#? \n\t",
                "\n  ",
                "classes:",
                "ids:",
                "a",
                "1",
                "---\n",
            ]
        ),
        max_size=40,
    )
)
def test_any_text_as_a_class_file(tmp_path_factory, parts):
    path = tmp_path_factory.getbasetemp() / "classes.yaml"
    path.write_text("".join(parts))
    with pytest.raises(ValueError) as caught:
        read_class_file(path)
    assert len(str(caught.value)) < 700


@pytest.mark.slow
def test_every_attack_is_refused_at_once_and_within_300_mb(tmp_path):
    found = hostile_attacks.taken(tmp_path)
    assert {one.name for one in found} == set(hostile_attacks.ATTACKS)
    assert not [one for one in found if not one.held]
