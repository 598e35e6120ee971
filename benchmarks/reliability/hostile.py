"""Damaged and hostile files: every one ends well or in one short error.

Sound files of every format are mutated at random: bytes, numbers, pieces and, in JSON,
values. What a reader may do is return or raise `ValueError` or `OSError` with a bounded
message; anything else is a failure, and so are two seconds of work.
"""

import json
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reliability import hostile_attacks
from benchmarks.reliability.hostile_files import FORMATS, Format
from crossearth_jax.report.table import Section, Table
from crossearth_jax.system.escape import quoted

LIMIT_S = 2.0  # of processor time
LONGEST = 5_000  # characters of a message; what is printed of it is shorter still
_NUMBERS = (b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
_WORDS = (b"[" * 500, b"{" * 50, b"\x1b[31m", b"../../", b"NaN", b"1e999", b'"', b"\0")
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 255, 10**30, 0.5, -1e308, float("nan")),
    *("", "x", "..", "a/b", "\x1b[31m", "x" * 3_000, "=cmd", "<script>", "\ud800"),
    *([], [[]], [None], [1, 2, 3], {}, {"a": 1}, {"": {}}, [[[[[[[[[]]]]]]]]]),
)


@dataclass(frozen=True)
class Failure:
    """A file that was not held.

    Attributes:
      kind: the format.
      seed: of the mutation.
      why: what the reader did.
      content: the file.
    """

    kind: str
    seed: int
    why: str
    content: bytes

    def __str__(self) -> str:
        """For a terminal."""
        return f"{self.kind}, seed {self.seed}: {self.why}"


def measure(folder: Path, cases: int, seed: int) -> None:
    """Runs `cases` mutations and prints the table of docs/reliability.md.

    Raises:
      SystemExit: a file was not held; it is kept in the folder.
    """
    attacks = hostile_attacks.taken(folder)
    print(attack_table(attacks).as_markdown(), end="\n\n")
    begin = time.process_time()
    tried, refused, failures = Counter[str](), Counter[str](), []
    for kind, number, outcome in run(folder, cases, seed):
        tried[kind] += 1
        if isinstance(outcome, Failure):
            failures.append(outcome)
            (folder / f"failure-{number}").write_bytes(outcome.content)
        refused[kind] += outcome is True
    lost = Counter(failure.kind for failure in failures)
    print(mutation_table(tried, refused, lost).as_markdown(), end="\n\n")
    print(f"{time.process_time() - begin:.0f} s of processor time, seed {seed}")
    lost_attacks = [f"{one.name}: {one}" for one in attacks if not one.held]
    if failures or lost_attacks:
        raise SystemExit("\n".join([*map(str, failures), *lost_attacks]))


def attack_table(attacks: Sequence[hostile_attacks.Taken]) -> Table:
    """What every attack cost, and whether it was held."""
    rows = [
        (
            one.name,
            f"{one.size:,}",
            f"{one.seconds:.2f}",
            f"{one.megabytes:.0f}",
            "yes" if one.held else f"no: {one.said}",
        )
        for one in attacks
    ]
    return Table(("file", "bytes", "seconds", "MB", "held"), "lrrrl", [Section(rows)])


def mutation_table(
    tried: Counter[str], refused: Counter[str], lost: Counter[str]
) -> Table:
    """Numbers of mutated files by format, and of all."""
    counts = {kind: (n, refused[kind], n - lost[kind]) for kind, n in tried.items()}
    counts["all"] = tuple(map(sum, zip(*counts.values(), strict=True)))
    rows = [(kind, *map(str, numbers)) for kind, numbers in counts.items()]
    return Table(("format", "tried", "refused", "held"), "lrrr", [Section(rows)])


def run(
    folder: Path, cases: int, seed: int
) -> Iterator[tuple[str, int, bool | Failure]]:
    """(format, seed of the mutation, whether it was refused or how it failed)."""
    kinds = list(FORMATS)
    sound = {kind: _sound(folder / kind.replace(" ", "_"), kind) for kind in kinds}
    for case in range(cases):
        kind, number = kinds[case % len(kinds)], seed + case
        content = mutated(FORMATS[kind], sound[kind], random.Random(number))
        path = folder / kind.replace(" ", "_") / FORMATS[kind].name
        path.write_bytes(content)
        outcome = attempt(FORMATS[kind], path)
        if isinstance(outcome, str):
            outcome = Failure(kind, number, outcome, content)
        yield kind, number, outcome


def _sound(folder: Path, kind: str) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FORMATS[kind].name
    FORMATS[kind].make(path)
    content = path.read_bytes()
    FORMATS[kind].read(path)
    return content


def attempt(kind: Format, path: Path) -> bool | str:
    """False: it was read. True: it was refused as promised. Else what went wrong."""
    begin, refused = time.process_time(), False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(path)
    except (ValueError, OSError) as error:
        refused = True
        if len(str(error)) > LONGEST:
            return f"a message of {len(str(error))} characters"
    except Exception as error:  # what a user would see as a traceback
        return f"{type(error).__name__}: {quoted(str(error))}"
    if (seconds := time.process_time() - begin) > LIMIT_S:
        return f"{seconds:.1f} s"
    return refused


def mutated(kind: Format, sound: bytes, draw: random.Random) -> bytes:
    """One mutation or several of a sound file."""
    if kind.is_json and draw.random() < 0.7:
        content = json.loads(sound)
        for _ in range(draw.choice([1, 1, 2])):
            content = _exchanged(content, draw)
        return json.dumps(content).encode("utf-8", "surrogatepass")
    data = bytearray(sound)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        _mutate(data, draw)
    return bytes(data)


def _mutate(data: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice([1, 4, 30, 200]))
    match draw.randrange(7):
        case 0 if at < len(data):
            data[at] = draw.randrange(256)
        case 1 if at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end] * draw.choice([1, 1, 50])
        case 4:
            piece = draw.choice(_NUMBERS)
            data[at : at + len(piece)] = piece
        case 5:
            data[at:at] = draw.choice(_WORDS)
        case _:
            del data[at:]


def _exchanged(content: Any, draw: random.Random) -> Any:
    """A copy in which one value, at any depth, is another, absent or twice there."""
    if not isinstance(content, dict | list) or not content or draw.random() < 0.15:
        return draw.choice(_VALUES)
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key = draw.choice(keys)
    copy = content.copy()
    match draw.randrange(6):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[draw.choice(["x", "..", "", "\x1b[31m", "y" * 300])] = copy[key]
        case 1 if isinstance(copy, list):
            copy.append(copy[key])
        case _:
            copy[key] = _exchanged(copy[key], draw)
    return copy
