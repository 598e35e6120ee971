"""Damaged and hostile files: every one ends well or in one short error.

Sound files of every format are mutated at random, see `hostile_mutations`. What a
reader may do is return or raise `ValueError` or `OSError` with a bounded message;
anything else is a failure, and so are two seconds of work.
"""

import random
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability import hostile_attacks
from benchmarks.reliability.hostile_files import FILES, Format
from benchmarks.reliability.hostile_inputs import INPUTS
from benchmarks.reliability.hostile_mutations import mutated
from crossearth_jax.report.table import Section, Table
from crossearth_jax.system.escape import quoted

FORMATS = FILES | INPUTS
LIMIT_S = 2.0  # of processor time
LONGEST = 5_000  # characters of a message; what is printed of it is shorter still


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
    except SystemExit as error:  # how the example says it
        refused = True
        if not isinstance(error.code, str):
            return f"the exit status {error.code}"
    except Exception as error:  # what a user would see as a traceback
        return f"{type(error).__name__}: {quoted(str(error))}"
    if (seconds := time.process_time() - begin) > LIMIT_S:
        return f"{seconds:.1f} s"
    return refused
