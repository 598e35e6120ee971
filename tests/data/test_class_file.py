"""Class files say one thing: no second reading; messages name line and key."""

import json

import pytest

from crossearth_jax.data.classes import ClassSet

HEAD = "encoding: ids\nclasses:\n  - {name: ground, color: [0, 0, 0]}\n"


def refused(path, text):
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        ClassSet.from_file(path)
    message = str(caught.value)
    assert message.startswith(f"class file {path}: ") and len(message) < 600
    return message.removeprefix(f"class file {path}: ")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
AMBIGUOUS = {
    "bool": (
        "  - {name: no, color: [1, 1, 1]}\n",
        r"line 4, key classes[1].name: got no",
    ),
    "octal": ("  - {name: 010, color: [1, 1, 1]}\n", "line 4, key classes[1].name"),
    "number": (
        "  - {name: 1, color: [1, 1, 1]}\n",
        "line 4, classes[1].name: got the na",
    ),
    "null": (
        "  - {name: , color: [1, 1, 1]}\n",
        "got nothing, which YAML reads as null",
    ),
    "date": ("  - {name: 2020-01-01, color: [1, 1, 1]}\n", "reads as timestamp"),
    "sixty": ("ignore: 1:30\n", "line 4, key ignore: got 1:30"),
    "float_id": ("ids: {0.9: ground}\n", "line 4, a key: got 0.9"),
    "twice": ("encoding: colours\n", "line 4: got the key 'encoding' twice"),
    "list_key": ("ids: {[1]: ground}\n", "line 4: got a list or mapping as a key"),
    "list_id": ("ids: {5: [1]}\n", "line 4, ids[5]: got ids entry [1]"),
    "id_beyond": ("ids: {5: 1}\n", "line 4, ids[5]: got ids entry 1"),
    "color": ("  - {name: a, color: [1, 1, 256]}\n", "line 4, classes[1].color: got"),
    "true_color": ("  - {name: a, color: [1, 1, true]}\n", "reads as bool"),
    "tag": ("  - !!python/name:os.system {}\n", "got the tag"),
    "control": (
        '  - {name: "\\e[31m", color: [1, 1, 1]}\n',
        r"'\x1b[31m', expected 1 to",
    ),
    "long": (f"  - {{name: {'x' * 101}, color: [1, 1, 1]}}\n", "1 to 100 printable"),
    "merge": ("  - <<: {name: a}\n", "reads as merge"),
    "reference": ("foreground: *name\n", "got a reference"),
    "bomb": (BOMB, "got a reference"),
    "deep": ("ids: " + "[" * 20_000, "nested deeper than 8"),
    "documents": ("---\na: b\n", "one document"),
    "large": ("# " + "x" * 200_000, "more than 131,072 bytes"),
    "no_yaml": ("\t- x: [", "not valid YAML: line"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_yaml_that_could_be_read_in_two_ways(tmp_path, case):
    more, message = AMBIGUOUS[case]
    assert message in refused(tmp_path / "classes.yaml", HEAD + more)


def test_words_in_quotes_are_text(tmp_path):
    path = tmp_path / "classes.yaml"
    more = '  - {name: "no", color: [1, 1, 1]}\nids: {0: ground, 10: "no", 7: 1}\n'
    path.write_text(HEAD + more)
    classes = ClassSet.from_file(path)
    assert classes.names == ("ground", "no")
    assert classes.encoding and classes.encoding.ids == ((0, 0), (7, 1), (10, 1))


GOOD = {
    "encoding": "ids",
    "classes": [
        {"name": "ground", "color": [0, 0, 0]},
        {"name": "house", "color": [255, 0, 0]},
    ],
}
ENTRY = '{"name": "a", "color": [0, 0, 0]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(GOOD | {"ids": {"010": "house"}}), "ids.010: got ids key '010'"),
        (json.dumps(GOOD | {"ids": {"0.9": "house"}}), "expected an integer"),
        (json.dumps(GOOD | {"ids": {"1": 1.0}}), "ids.1: got ids entry 1.0"),
        (json.dumps(GOOD | {"ids": {"1": True}}), "ids.1: got ids entry True"),
        (json.dumps(GOOD | {"ids": {"1": [1]}}), "ids.1: got ids entry [1]"),
        (json.dumps(GOOD | {"encoding": ["ids"]}), "encoding: got encoding ['ids']"),
        (json.dumps(GOOD | {"foreground": ["x"]}), "foreground: got foreground ['x']"),
        (json.dumps(GOOD | {"x" * 10**5: 1}), "unknown key(s) 'xxx"),
        (f'{{"classes": [{ENTRY}], "classes": []}}', "got the key 'classes' twice"),
        ('{"classes": [{"name": 1, "color": [0, 0, 0]}]}', "put it in quotes"),
        ('{"a":' + "[" * 10**5, "nested deeper than 32"),
        ('{"a":' + "[" * 40 + "]" * 40 + "}", "nested deeper than 32"),
        ("{" * 10, "line 1 column 2"),
        ("[]", "expected a mapping"),
        ('{"classes": ' + "9" * 5000 + "}", "integer"),
    ],
)
def test_json_by_the_same_rules(tmp_path, text, message):
    assert message in refused(tmp_path / "classes.json", text)
