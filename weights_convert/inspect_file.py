"""What a weight file holds, listed without reading its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossearth_jax.system.escape import terminal
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import open_weights
from weights_convert.mapping import Move, Rule, find_moves


@dataclass(frozen=True)
class Row:
    """One tensor of a file.

    Attributes:
      key: its name.
      shape: as stored.
      dtype: element type, NumPy's name.
      nbytes: size in bytes.
      target: where a mapping table sends it; "" without a table.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    target: str


def inspect(path: str | Path, rules: Sequence[Rule] = ()) -> list[Row]:
    """Lists the tensors of a weight file, in the file's order.

    Args:
      path: any file that `open_weights` takes.
      rules: a mapping table, to show where each tensor would go.

    Raises:
      ValueError: see `open_weights`.
    """
    return rows_of(open_weights(path).tensors, rules)


def rows_of(tensors: Mapping[str, LazyTensor], rules: Sequence[Rule]) -> list[Row]:
    """Lists tensors of an open file; see `inspect`."""
    return [
        Row(
            key,
            tensor.shape,
            tensor.dtype.name,
            tensor.nbytes,
            _target(find_moves(key, rules)) if rules else "",
        )
        for key, tensor in tensors.items()
    ]


def _target(moves: list[Move]) -> str:
    if not moves:
        return "no rule"
    return " or ".join(
        ", ".join(move.targets) or f"dropped: {move.rule.reason}" for move in moves
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text, with the total in the last line."""
    cells = [
        (
            terminal(row.key),
            str(row.shape),
            row.dtype,
            f"{row.nbytes:,}",
            terminal(row.target),
        )
        for row in rows
    ]
    total = sum(row.nbytes for row in rows)
    cells.append((f"{len(rows)} tensors", "", "", f"{total:,}", ""))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{key:{widths[0]}}  {shape:{widths[1]}}  {dtype:{widths[2]}}  "
        f"{size:>{widths[3]}}  {target}".rstrip()
        for key, shape, dtype, size, target in cells
    )
