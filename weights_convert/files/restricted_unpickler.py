"""A pickle reader that can build, and nothing else.

Python's own unpickler calls whatever a file names. This one is a small stack
machine over `pickletools.genops`, which only splits a pickle into its operations:
the names it knows are the keys of the table it is given, a call reaches only a
`Builder` of that table, attributes are set on `Inert` stand-ins alone, and every
operation that is not listed here is refused.

What is made is charged against one budget that follows from the file's size: every
operation, what it takes from the memo once more, and all arguments of every builder.
"""

from __future__ import annotations

import io
import pickletools
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast

from crossearth_jax.system.escape import cut, quoted

T = TypeVar("T")

MAX_BYTES = 64 * 2**20
MAX_VALUE = 16 * 2**20  # bytes of one text or number; as text they can take fourfold
MAX_NESTING = 64
# A unit of the budget stands for some 100 bytes of memory and 2 us. A tensor takes 35
# operations, 150 bytes of the file and 80 to 120 units.
FREE = 64_000
PER_BYTE = 2
MAX_COUNTED = 400_000  # bytes beyond these are numbers and text, which stay as they are

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_MALFORMED = (IndexError, KeyError, TypeError, OverflowError, struct.error)
_LINE = 2**16  # bytes; names of modules and classes are shorter
_PYTHON2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


@dataclass(frozen=True)
class Builder:
    """The only callable a pickle can reach: a pure function under a known name."""

    name: str
    build: Callable[..., object]


@dataclass
class Inert:
    """What stands for an object of a known foreign class: its parts, unused."""

    origin: str
    args: tuple = ()
    state: object = None
    items: list = field(default_factory=list)


def inert(name: str) -> Builder:
    """A builder of stand-ins for the class (or function) `name`."""
    return Builder(name, lambda *args: Inert(name, args))


class Budget:
    """What a file may make, in units; see the constants above."""

    def __init__(self, size: int) -> None:
        """Takes the size of the file in bytes."""
        self.size = size
        self.left = FREE + PER_BYTE * min(size, MAX_COUNTED)

    def charge(self, units: int) -> None:
        """Raises `ValueError` where more would be made than the file can need."""
        self.left -= units
        if self.left < 0:
            raise ValueError(
                f"got a pickle that builds far more than a file of {self.size} bytes "
                "needs: the file is damaged or hostile, get it from its source again"
            )


def weight(value: object) -> int:
    """Units of a value that is used once more; what it holds is not copied."""
    if isinstance(value, str | bytes):
        return len(value) // 64
    if isinstance(value, int):
        return value.bit_length() // 512
    if isinstance(value, list | tuple | dict | set | frozenset):
        return len(value)
    return 0


def unpickle(
    data: bytes,
    known: Mapping[str, object],
    persistent: Callable[[object], object],
) -> object:
    """Rebuilds the object in `data` out of plain containers and known builders.

    Args:
      data: one whole pickle, nothing behind it.
      known: "module name" (with one blank) to a `Builder` or an inert value.
      persistent: turns a persistent id (PyTorch: a storage) into an object.

    Raises:
      ValueError: an import outside `known` (named), an operation that is not
        needed for plain data, damage, or sizes beyond the limits above.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"got a pickle of {len(data)} bytes, at most {MAX_BYTES}")
    file = io.BytesIO(data)
    content = unpickle_next(file, Budget(len(data)), known, persistent)
    if (end := file.tell()) != len(data):
        raise ValueError(f"got {len(data) - end} bytes behind the end of the pickle")
    return content


def unpickle_next(
    file: BinaryIO,
    budget: Budget,
    known: Mapping[str, object],
    persistent: Callable[[object], object],
) -> object:
    """As `unpickle`, for the next of several pickles in one file.

    Args:
      file: stands at the pickle, afterwards behind it.
      budget: of all the pickles together.
      known: see `unpickle`.
      persistent: see `unpickle`.
    """
    machine = _Machine(known, persistent, budget)
    try:
        _run(machine, file)
    except _MALFORMED as error:
        raise ValueError(f"got a malformed pickle ({quoted(error)})") from error
    except ValueError as error:  # pickletools quotes what it cannot read in full
        reason = cut(str(error), 500)
        ours = reason.startswith("got")
        raise ValueError(
            reason if ours else f"got a damaged pickle ({reason})"
        ) from error
    if machine.outer or len(machine.stack) != 1:
        raise ValueError("got a malformed pickle (objects left over at its end)")
    _check_nesting(machine.stack[0])
    return machine.stack[0]


def _run(machine: _Machine, file: BinaryIO) -> None:
    """Feeds every operation up to the end of the pickle to the machine."""
    charge = machine.budget.charge
    for code, arg, _ in pickletools.genops(cast(Any, _Bounded(file))):
        charge(1)
        if code.name in _VALUES:
            if not isinstance(arg, bytes):
                charge(sys.getsizeof(arg) // 128)
            machine.stack.append(arg)
        elif code.name in _CONSTANTS:
            machine.stack.append(_CONSTANTS[code.name])
        elif code.name in _EMPTY:
            charge(2)
            machine.stack.append(_EMPTY[code.name]())
        elif code.name not in ("PROTO", "FRAME", "STOP"):
            charge(1)
            machine.step(code.name, arg)


class _Bounded:
    """A file whose single values are bounded before they become text."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.tell = file, file.tell

    def read(self, size: int) -> bytes:
        """As of a file; refuses a value that would be read whole."""
        if size > MAX_VALUE:
            raise ValueError(f"got a value of {size} bytes, at most {MAX_VALUE}")
        return self.file.read(size)

    def readline(self) -> bytes:
        """A line of names and numbers in text."""
        return self.file.readline(_LINE)


class _Machine:
    """The stack, the marks and the memo of one unpickling."""

    def __init__(
        self,
        known: Mapping[str, object],
        persistent: Callable[[object], object],
        budget: Budget,
    ) -> None:
        self.known, self.persistent, self.budget = known, persistent, budget
        self.stack: list = []
        self.outer: list[list] = []  # stacks below the open marks
        self.memo: dict[int, object] = {}

    def step(self, name: str, arg: Any) -> None:
        """Executes one operation that reads the stack or the memo.

        Args:
          name: of the operation.
          arg: its own argument, of the type that `pickletools` gives it.
        """
        match name:
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT":
                self.memo[arg] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.budget.charge(weight(self.memo[arg]))
                self.stack.append(self.memo[arg])
            case "TUPLE":
                items = self._since_mark()  # it replaces the stack: not one line
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self._pop(_SHORT_TUPLES[name])))
            case "FROZENSET":
                items = self._since_mark()
                self.stack.append(frozenset(map(key, items)))
            case "APPEND":
                _append(self.stack[-2], self._pop(1))
            case "APPENDS":
                items = self._since_mark()
                _append(self.stack[-1], items)
            case "ADDITEMS":
                items = self._since_mark()
                expect(self.stack[-1], set).update(map(key, items))
            case "SETITEM":
                _set_items(self.stack[-3], self._pop(2))
            case "SETITEMS":
                items = self._since_mark()
                _set_items(self.stack[-1], items)
            case "GLOBAL":
                self.stack.append(self._find(*str(arg).split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack.append(self._find(*self._pop(2)))
            case "REDUCE" | "NEWOBJ":
                builder, args = self._pop(2)
                build = expect(builder, Builder).build
                self._charge_all(expect(args, tuple))
                self.stack.append(build(*args))
            case "BUILD":
                target, (state,) = self.stack[-2], self._pop(1)
                self._charge_all((state,))
                _set_state(target, state)
            case "BINPERSID":
                self.stack.append(self._resolved(*self._pop(1)))
            case _:
                raise ValueError(
                    f"got the pickle operation {name}, which plain weights do not "
                    "need: do not load this file with other tools"
                )

    def _resolved(self, reference: object) -> object:
        self._charge_all(reference if type(reference) is tuple else ())
        return self.persistent(reference)

    def _charge_all(self, values: Sequence) -> None:
        self.budget.charge(len(values) + 2 * sum(map(weight, values)))

    def _pop(self, count: int) -> list:
        if len(self.stack) < count:
            raise IndexError("stack underflow")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def _since_mark(self) -> list:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def _find(self, module: object, name: object) -> object:
        module, name = expect(module, str), expect(name, str)
        try:
            return self.known[f"{_PYTHON2.get(module, module)} {name}"]
        except KeyError:
            asked = quoted(f"{module[:50]}.{name[:100]}")
            raise ValueError(
                f"got a pickle that imports {asked}, which weights do not need: it "
                "could run code where other tools load it; if you trust its source, "
                "save the state_dict alone and try again"
            ) from None


def expect(value: object, kind: type[T]) -> T:
    """Passes a value of exactly this type, refuses the rest."""
    if type(value) is not kind:
        raise ValueError(
            f"got a {type(value).__name__} in a pickle, expected {kind.__name__}"
        )
    return value


def key(value: object) -> str | bytes | int | None:
    """Passes what may be a key of a dict or a member of a set, refuses the rest."""
    # Hashing nested tuples recurses without a limit, and long integers collide.
    short = not isinstance(value, int) or abs(value) < 2**63
    if value is None or (isinstance(value, str | bytes | int) and short):
        return value
    raise ValueError(f"got a {type(value).__name__} as a key, expected str or int")


def _append(target: object, items: Sequence) -> None:
    expect(target.items if isinstance(target, Inert) else target, list).extend(items)


def _set_items(target: object, items: Sequence) -> None:
    if len(items) % 2:
        raise ValueError("got a malformed pickle (a key without a value)")
    pairs = zip(map(key, items[::2]), items[1::2], strict=True)
    if isinstance(target, Inert):
        target.items.extend(pairs)
    else:
        expect(target, OrderedDict if type(target) is not dict else dict).update(pairs)


def _set_state(target: object, state: object) -> None:
    if isinstance(target, Inert):
        target.state = state
    elif set(values := expect(state, dict)) == {"_metadata"}:
        # PyTorch hangs the versions of the modules on a state_dict.
        vars(expect(target, OrderedDict)).update(values)
    else:
        raise ValueError(
            f"got a pickle that sets attributes of a {type(target).__name__}, "
            "expected them only on known foreign objects"
        )


def _children(node: object) -> Iterable:
    match node:
        case OrderedDict():
            return [*node.values(), *vars(node).values()]
        case dict():
            return node.values()
        case list() | tuple() | set() | frozenset():
            return node
        case Inert():
            return [node.args, node.state, node.items]
    return ()


def _check_nesting(root: object) -> None:
    """Refuses cycles and deep nesting, on which later code would recurse."""
    height: dict[int, int] = {}
    path: set[int] = set()
    todo = [root]
    while todo:
        node = todo[-1]
        below = _children(node)
        if id(node) in path:  # all below it is measured
            path.remove(id(node))
            height[id(node)] = 1 + max((height[id(c)] for c in below), default=0)
            if height[id(node)] > MAX_NESTING:
                raise ValueError(f"got containers nested deeper than {MAX_NESTING}")
        if id(node) in height:
            todo.pop()
            continue
        path.add(id(node))
        fresh = [c for c in below if id(c) not in height]
        if any(id(c) in path for c in fresh):
            raise ValueError("got a container that holds itself")
        todo.extend(fresh)
