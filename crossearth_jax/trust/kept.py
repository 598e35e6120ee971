"""`trust/baseline.npz` of a workdir: a run's `Baseline`, sealed with its weights."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from crossearth_jax.features.pca import Basis
from crossearth_jax.run import seal
from crossearth_jax.scoring.counts import Confidence
from crossearth_jax.system.read_json import parse_json
from crossearth_jax.system.read_npz import read_npz
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.trust.baseline import Baseline
from crossearth_jax.trust.evidence import Evidence, Thresholds
from crossearth_jax.trust.familiar import Familiar, Moments

FOLDER, NAME = "trust", "baseline.npz"
Arrays = dict[str, np.ndarray]
T = TypeVar("T")


def write_baseline(workdir: Path, baseline: Baseline, weights: str) -> Path:
    """Writes and seals the file of a run.

    Args:
      workdir: of the run.
      baseline: of its source domain.
      weights: digest of the weights it was measured with.
    """
    folder = workdir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / seal.NAME).unlink(missing_ok=True)  # a kill leaves it unsealed
    with whole_file(folder / NAME) as place, place.open("wb") as file:
        arrays: dict[str, Any] = _to_arrays(baseline)
        np.savez_compressed(file, **arrays)
    seal.write(folder, {"weights": weights})
    return folder / NAME


def read_baseline(workdir: Path, classes: tuple[str, ...], weights: str) -> Baseline:
    """Reads what `write_baseline` wrote.

    Args:
      workdir: of the run.
      classes: its classes' names.
      weights: digest of the weights that are to be judged.

    Raises:
      ValueError: there is no such file, it is damaged, or it is of other weights.
    """
    folder = workdir / FOLDER
    again = f"score the run again: crossearth eval --workdir {workdir}"
    if not (folder / NAME).is_file():
        raise ValueError(
            f"got {workdir} without {FOLDER}/{NAME}, which is kept when a source "
            "domain of two or more classes is scored: set data.source and eval.trust, "
            f"and {again}"
        )
    if found := seal.damage(folder):
        raise ValueError(f"got {folder}, which is damaged ({found}): {again}")
    made_with = seal.read(folder).get("weights")
    if made_with != weights:
        raise ValueError(
            f"got {folder / NAME} of weights {made_with}, expected those of this "
            f"checkpoint, {weights}: {again}"
        )
    try:
        baseline = _from_arrays(read_npz(folder / NAME))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        reason = str(error)[:200]
        raise ValueError(
            f"got {folder / NAME}, which cannot be read ({reason}): {again}"
        ) from error
    if baseline.classes != classes:
        raise ValueError(
            f"got {folder / NAME} of classes {', '.join(baseline.classes)}, expected "
            f"{', '.join(classes)}: {again}"
        )
    return baseline


def _to_arrays(baseline: Baseline) -> Arrays:
    about = {
        "classes": baseline.classes,
        "accuracy": baseline.accuracy,
        "temperature": baseline.thresholds.temperature,
        "confidence": baseline.thresholds.confidence,
        "certainty": baseline.thresholds.certainty,
        "variants": len(baseline.familiar),
    }
    arrays: Arrays = {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "precision": baseline.precision,
        "by_class": baseline.thresholds.by_class,
        **_named("evidence", baseline.evidence),
        **_named("before", baseline.before),
        **_named("after", baseline.after),
    }
    for i, one in enumerate(baseline.familiar):
        arrays |= _named(f"basis{i}", one.basis) | _named(f"moments{i}", one.moments)
        arrays[f"quantiles{i}"] = one.quantiles
    return arrays


def _from_arrays(arrays: Arrays) -> Baseline:
    about = parse_json(arrays["about"].tobytes())
    numbers = ("temperature", "confidence", "certainty")
    thresholds = Thresholds(
        *(float(about[name]) for name in numbers), by_class=arrays["by_class"]
    )
    familiar = tuple(
        Familiar(
            _of(Basis, arrays, f"basis{i}"),
            _moments(arrays, f"moments{i}"),
            arrays[f"quantiles{i}"],
        )
        for i in range(int(about["variants"]))
    )
    return Baseline(
        tuple(about["classes"]),
        float(about["accuracy"]),
        arrays["precision"],
        thresholds,
        _of(Evidence, arrays, "evidence"),
        _of(Confidence, arrays, "before"),
        _of(Confidence, arrays, "after"),
        familiar,
    )


def _named(prefix: str, one: Any) -> Arrays:
    return {
        f"{prefix}.{field.name}": np.asarray(getattr(one, field.name))
        for field in fields(one)
    }


def _of(kind: type[T], arrays: Arrays, prefix: str) -> T:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    return kind(*(arrays[f"{prefix}.{name}"] for name in names))


def _moments(arrays: Arrays, prefix: str) -> Moments:
    found = _of(Moments, arrays, prefix)
    return replace(found, count=float(found.count), outside=float(found.outside))
