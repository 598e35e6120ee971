"""`summary.json` and `summary.csv` beside maps: what became of each scene."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from crossearth_jax.predict.outputs import Existing
from crossearth_jax.predict.scratch import move, scratch_folder
from crossearth_jax.system.escape import LINE, csv_cell
from crossearth_jax.system.read_json import read_json

MADE_BY = "crossearth predict"
MOST_BYTES, MOST_VALUES = 2**26, 2_000_000  # 100,000 scenes of 10 classes
COLUMNS = ("scene", "map", "state", "reason", "seconds")
MADE, THERE, LEFT_OUT = "made", "there", "left out"


@dataclass(frozen=True)
class Row:
    """One scene.

    Attributes:
      scene: as it was given.
      map: the class map.
      state: "made", "there" or "left out".
      reason: why it was left out.
      seconds: that it took.
      pixels: by class, and "nodata".
      expected: of --trust: accuracy, its range, and mIoU.
    """

    scene: str
    map: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    pixels: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)


def summary_paths(out: Path, part: tuple[int, int]) -> tuple[Path, Path]:
    """The JSON and the CSV file; parts have their own."""
    number, parts = part
    stem = "summary" if parts == 1 else f"summary-{number}-of-{parts}"
    return out / f"{stem}.json", out / f"{stem}.csv"


def read_summary(paths: tuple[Path, Path], *, overwrite: bool) -> dict[str, Row]:
    """Rows of an earlier run by map, so that other scenes' stay.

    Raises:
      Existing: a file of that name is another's.
    """
    found, table = paths
    ours = table.exists() is False or _starts_as_ours(table)
    rows: dict[str, Row] = {}
    if found.exists():
        try:
            content = read_json(found, max_bytes=MOST_BYTES, max_values=MOST_VALUES)
            ours = ours and content["made_by"] == MADE_BY
            rows = {row["map"]: _row(row) for row in content["scenes"]} if ours else {}
        except (ValueError, KeyError, TypeError):
            ours = False
    if not ours and not overwrite:
        raise Existing(
            f"got {found} or {table}, not written by crossearth: choose another --out, "
            "or pass --overwrite"
        )
    return rows


def _row(content: Mapping[str, Any]) -> Row:
    row = Row(**content)
    texts = row.scene, row.map, row.state, row.reason
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("no row of ours")
    pixels, expected = dict(row.pixels), dict(row.expected)
    return replace(row, pixels=pixels, expected=expected, seconds=float(row.seconds))


def _starts_as_ours(table: Path) -> bool:
    head = ",".join(COLUMNS)
    with table.open(encoding="utf-8", errors="replace") as file:
        return file.read(len(head)) == head


def write_summary(paths: tuple[Path, Path], rows: Iterable[Row]) -> None:
    """Replaces both files, never half written."""
    rows = list(rows)
    content = {"made_by": MADE_BY, "scenes": [asdict(row) for row in rows]}
    texts = json.dumps(content, indent=1, ensure_ascii=False) + "\n", _table(rows)
    for path, text in zip(paths, texts, strict=True):
        with scratch_folder(path) as scratch:
            (scratch / "made").write_text(text, encoding="utf-8")
            move(scratch / "made", path)


def _table(rows: list[Row]) -> str:
    """CSV; a column of pixels for each class that any scene has."""
    classes = list(dict.fromkeys(name for row in rows for name in row.pixels))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    expected = list(dict.fromkeys(name for row in rows for name in row.expected))
    names = (csv_cell(f"pixels of {name}") for name in classes)
    writer.writerow([*COLUMNS, *map(csv_cell, expected), *names])
    for row in rows:
        own = [csv_cell(getattr(row, column), LINE) for column in COLUMNS]
        own += [row.expected.get(name, "") for name in expected]
        writer.writerow([*own, *(row.pixels.get(name, "") for name in classes)])
    return text.getvalue()
