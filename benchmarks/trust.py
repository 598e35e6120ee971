"""How far estimates of accuracy are off where labels tell: the tables of docs/trust.md.

    python -m benchmarks.trust runs/demo_1 runs/demo_rein_1 … runs/building_3

Each run's baseline is measured anew from its source domain, then every unseen domain is
estimated and compared with its labels.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossearth_jax.build_data import build_data
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.trained import load_run
from crossearth_jax.scoring.score_fn import make_score_fn
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.whole_file import whole_file
from crossearth_jax.trust.baseline import measure_baseline
from crossearth_jax.trust.estimate import DEFAULT
from crossearth_jax.trust.judge import Verdict, judge_domain
from crossearth_jax.trust.keep import last_tap


@dataclass(frozen=True)
class Judged:
    """One unseen domain of one run."""

    run: str
    group: str
    verdict: Verdict
    temperature: float

    def errors(self) -> dict[str, float]:
        """Estimated - true accuracy, by estimator."""
        true = self.verdict.accuracy
        assert true is not None
        return {k: v - true for k, v in self.verdict.found.accuracies.items()}


def judge_run(workdir: Path) -> list[Judged]:
    """The unseen domains of a run.

    Raises:
      ValueError: it has no source domain.
    """
    run = load_run(workdir)
    data, windows = build_data(run.settings.data), run.windows.on_devices()
    source = [domain for domain in data.domains if domain.role == "source"]
    if not source:
        raise ValueError(f"got {workdir} without data.source, expected one")
    network, state = run.network, run.state
    score_fn = make_score_fn(network.graph, state.params, network.frozen)
    feature_fn, names = last_tap(network, state), run.classes.names
    baseline = measure_baseline(
        score_fn, feature_fn, source[0], classes=names, windows=windows
    )
    return [
        Judged(
            workdir.name,
            data.train.__class__.__name__.removesuffix("Source").lower(),
            judge_domain(baseline, score_fn, feature_fn, domain, windows),
            baseline.thresholds.temperature,
        )
        for domain in data.domains
        if domain.role == "unseen"
    ]


def ranks(values: Sequence[float]) -> np.ndarray:
    """1 for the smallest; equal values share the mean of their ranks."""
    array = np.asarray(values)
    below = (array[:, None] > array).sum(1)
    equal = (array[:, None] == array).sum(1)
    return below + (equal + 1) / 2


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, -1 to 1; nan where all of one are equal."""
    a, b = ranks(first), ranks(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def estimator_table(judged: Sequence[Judged], title: str) -> Table:
    """A row for each estimator, over all domains."""
    true = [one.verdict.accuracy or 0.0 for one in judged]
    rows = []
    for name in judged[0].verdict.found.accuracies:
        errors = np.array([one.errors()[name] for one in judged])
        found = [one.verdict.found.accuracies[name] for one in judged]
        rows.append(
            [
                f"{name} (the default)" if name == DEFAULT else name,
                f"{np.abs(errors).mean():.3f}",
                f"{errors.mean():+.3f}",
                f"{errors.min():+.3f} to {errors.max():+.3f}",
                f"{rank_correlation(found, true):+.2f}",
            ]
        )
    header = ("estimator", "mean absolute error", "mean error", "errors", "rank corr.")
    return Table(header, "lrrrr", [Section(rows)], title=title)


def domain_table(judged: Sequence[Judged]) -> Table:
    """A row for each domain of each run."""
    rows = []
    for one in judged:
        found, true = one.verdict.found, one.verdict
        rows.append(
            [
                one.run,
                true.name,
                f"{100 * found.accuracy:.1f}",
                f"{100 * (true.accuracy or 0):.1f}",
                f"{100 * found.miou:.1f}",
                f"{100 * (true.miou or 0):.1f}",
                f"{found.distance:.2f}",
                f"{100 * found.outside:.1f}",
            ]
        )
    header = ("run", "domain", "accuracy, expected", "true", "mIoU, expected", "true")
    header += ("distance", "outside")
    return Table(header, "llrrrrrr", [Section(rows)])


def main() -> None:
    """Judges the runs and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="workdirs")
    parser.add_argument("--json", type=Path, help="write all numbers")
    options = parser.parse_args()
    set_up_compiler()
    judged: list[Judged] = []
    for workdir in options.runs:
        judged += judge_run(workdir)
        print(f"{workdir}: {len(judged)} domains so far", flush=True)
    for group in dict.fromkeys(one.group for one in judged):
        own = [one for one in judged if one.group == group]
        print(f"\n{domain_table(own).as_markdown()}\n")
        print(estimator_table(own, f"{group}: {len(own)} domains").as_markdown())
    if options.json:
        content = [
            {
                "run": one.run,
                "domain": one.verdict.name,
                "accuracy": one.verdict.accuracy,
                "mIoU": one.verdict.miou,
                "estimated_mIoU": one.verdict.found.miou,
                "temperature": one.temperature,
                "estimators": dict(one.verdict.found.accuracies),
            }
            for one in judged
        ]
        with whole_file(options.json) as place:
            place.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
