"""Writes docs/parity.md: `python tests/parity/report.py`."""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import parity_losses  # noqa: E402
import parity_mim  # noqa: E402
import parity_resampling  # noqa: E402
import parity_segmentor  # noqa: E402
from parity_fixtures import recorded, relative  # noqa: E402

from crossearth_jax.report.table import Section, Table  # noqa: E402

HEAD = """# Parity with the authors' PyTorch code

Measured against the outputs of the unmodified official code, recorded in
`../shared/fixtures` (random weights, small widths, CPU, float32). The weights came
through `weights_convert`. An error is ‖a - b‖ / ‖b‖ over all values of a stage.
PyTorch's own error is its float32 against its float64, where that was recorded.

This page is written by `python tests/parity/report.py`, which needs that folder
(`CROSSEARTH_FIXTURES` names another one); `python -m pytest tests/parity` holds the
numbers below their limits: 1e-4 for every stage, 2e-3 for gradients (1e-4 where
PyTorch's own noise allows it).
"""


def table(title, rows, columns):
    """Markdown; rows are (name, *numbers), None where nothing was recorded."""

    def cell(value):
        if isinstance(value, str):
            return value
        return "" if value is None else f"{value:.1e}"

    section = Section([tuple(map(cell, row)) for row in rows])
    align = "l" + "r" * (len(columns) - 1)
    return f"## {title}\n\n{Table(columns, align, [section]).as_markdown()}\n"


def stages(case, title):
    expected, exact = (
        recorded(f"tiny_segmentor{suffix}.npz") for suffix in ("", "_f64")
    )
    computed = parity_segmentor.compute_stages(case)
    rows = []
    for name, error in parity_segmentor.stage_errors(case, computed).items():
        key = f"{case}/{name}"
        noise = relative(expected[key], exact[key]) if key in exact else None
        rows.append((name, error, noise))
    columns = ("stage", "ours to PyTorch", "PyTorch float32 to float64")
    return table(title, rows, columns), computed


def decisions(computed):
    error, equal = parity_segmentor.resized_case(computed)
    errors, classes = parity_segmentor.slide_errors()
    rows = [("scores resized to the label (case C)", error)]
    rows += [(f"sliding windows {name}", value) for name, value in errors.items()]
    shares = {"case C": equal, **classes}
    text = ", ".join(f"{name} {100 * share:.4g} %" for name, share in shares.items())
    found = table("Scores of whole images", rows, ("stage", "ours to PyTorch"))
    return found + f"\nEqual classes where the top two scores differ by 1e-4: {text}.\n"


def losses():
    rows = [*parity_losses.loss_errors().items()]
    costs = parity_losses.cost_errors()
    rows.append(("matching costs, largest of all", max(costs.values())))
    for which in ("allignore", "oneignore"):
        rows.append((which, relative(*parity_losses.without_ground_truth(which))))
    found = table("Losses", rows, ("term", "ours to PyTorch"))
    differ = len(parity_losses.assignments_differ())
    return found + f"\nPairs matched otherwise than by the authors: {differ}.\n"


def gradients():
    exact = parity_losses.double_gradient_errors()
    rows = [
        (name, error, exact[name], noise)
        for name, (error, noise) in parity_losses.gradient_errors().items()
    ]
    summary = [
        (f"{word} of {len(rows)}", *(function([r[i] for r in rows]) for i in (1, 2, 3)))
        for word, function in (("median", np.median), ("largest", max))
    ]
    columns = (
        "parameter",
        "ours to PyTorch",
        "ours to PyTorch float64",
        "PyTorch float32 to float64",
    )
    return table("Gradients", summary + rows, columns)


def updates():
    rows = []
    for step in (1, 3):
        errors = np.array([*parity_losses.adamw_errors(step).values()])
        rows.append((f"step {step}", *errors.max(0)))
    columns = ("AdamW", "parameters, largest error", "their change, largest error")
    return table("Optimiser", rows, columns)


def main():
    first, computed = stages("A", "Case A: an image of the crop's size")
    second, _ = stages("B", "Case B: another size, positions resized at run time")
    resampling = [
        *parity_resampling.conversion_errors().items(),
        *parity_resampling.runtime_errors().items(),
    ]
    columns = ("stage", "ours to PyTorch")
    parts = [
        HEAD,
        first,
        second,
        decisions(computed),
        losses(),
        updates(),
        table("Bicubic resizing of weights", resampling, columns),
        table("The authors' earlier MIM head", parity_mim.measured().items(), columns),
        gradients(),
    ]
    target = ROOT / "docs" / "parity.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(parts))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
