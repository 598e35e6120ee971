"""Which of our functions a kernel comes from.

XLA keeps the Python call stack of most instructions. A fusion has none of its own where
it joins several functions: then the function counts that most of its inside is from.
What has lost its stack altogether is told by the weights that it takes, or by what its
operands are from.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import crossearth_jax
from benchmarks.accelerator.hlo import Computation, Instruction, Program

OURS = f"{Path(crossearth_jax.__file__).parent}/"
# Called for every product: their callers tell more.
GO_BETWEENS = ("models/precision.py", "models/half_product.py")
ELSEWHERE = "elsewhere"
FRAME = re.compile(r"stack_frame_id=(\d+)")
WEIGHTS = re.compile(r"^(?:frozen|state|params)_")
AROUND = ("model", "params", "opt_state", "mu", "nu")  # the model in an argument
HOPS = 3  # through instructions that only hand on


@dataclass
class Places:
    """Of the instructions of one program."""

    program: Program

    @cached_property
    def frames(self) -> dict[int, str]:
        """Stack frame to our innermost file and function, "" where there is none."""
        tables = [
            _table(self.program.text, name)
            for name in ("FileNames", "FunctionNames", "FileLocations", "StackFrames")
        ]
        files, functions = ({k: v.strip('"') for k, v in x.items()} for x in tables[:2])
        spots, frames = ({k: _numbers(v) for k, v in x.items()} for x in tables[2:])

        def of(frame: int) -> str:
            while frame in frames:
                spot = spots[frames[frame]["file_location_id"]]
                file = files[spot["file_name_id"]]
                own = file.removeprefix(OURS)
                if own != file and own not in GO_BETWEENS:
                    function = functions[spot["function_name_id"]]
                    return f"{own}:{_short(function)}"
                # As printed it is one more than the caller's, and of an outermost
                # frame 1: a number that is taken as it stands leads astray.
                frame = frames[frame].get("parent_frame_id", 1) - 1
            return ""

        return {frame: of(frame) for frame in frames}

    def of(self, kernel: Instruction, computation: Computation) -> str:
        """The function of a kernel, or the module whose weights it takes."""
        return (
            self._own(kernel)
            or self._inside(kernel)
            or self._by_weights(kernel, computation)
            or self._by_operands(kernel, computation, HOPS)
            or ELSEWHERE
        )

    def _own(self, instruction: Instruction) -> str:
        found = FRAME.search(instruction.rest)
        return self.frames.get(int(found[1]), "") if found else ""

    def _inside(self, kernel: Instruction) -> str:
        names = kernel.called.get("calls", ())
        found = Counter(
            place
            for name in names
            for inner in self.program.computations[name]
            if (place := self._own(inner))
        )
        return found.most_common(1)[0][0] if found else ""

    def _by_weights(self, kernel: Instruction, computation: Computation) -> str:
        for name in kernel.operands:
            known = computation.instructions.get(name)
            if known and known.op == "parameter" and WEIGHTS.match(name):
                return weights_of(name)
        return ""

    def _by_operands(
        self, kernel: Instruction, computation: Computation, hops: int
    ) -> str:
        if not hops:
            return ""
        for name in kernel.operands:
            source = computation.instructions.get(name)
            if source is None or source.op == "parameter":
                continue
            found = (
                self._own(source)
                or self._inside(source)
                or self._by_weights(source, computation)
                or self._by_operands(source, computation, hops - 1)
            )
            if found:
                return found
        return ""


def weights_of(name: str) -> str:
    """Of an argument: gse.norm of frozen__model____gse____norm____scale__.1."""
    words = [word for word in re.split(r"_{2,}", name.partition(".")[0]) if word]
    known = [w for w in words[1:] if not w.isdigit() and w not in AROUND]
    return "weights of " + ".".join(w.strip("_") for w in known[:-1])


def _short(function: str) -> str:
    return function.replace(".<locals>", "").replace("<lambda>", "lambda")


def _numbers(row: str) -> dict[str, int]:
    return {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", row)}


def _table(text: str, name: str) -> dict[int, str]:
    """Rows of a table in the text, by number; empty without that table."""
    start = text.find(f"\n{name}\n")
    if start < 0:
        return {}
    rows = {}
    for line in text[start + len(name) + 2 :].split("\n"):
        found = re.match(r"(\d+) (.*)", line)
        if not found:
            break
        rows[int(found[1])] = found[2]
    return rows
