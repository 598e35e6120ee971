"""Finished runs, read from their workdirs and put into groups that differ by seed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossearth_jax.config import flattened
from crossearth_jax.report.check_report import check_report
from crossearth_jax.system.read_json import read_json

# Keys that change no result, or only as another seed does.
IMMATERIAL = {
    "name",
    "workdir",
    "train.seed",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep",
    "train.keep_every",
    "train.keep_best",
    "train.loggers",
    "train.fsdp",
    "data.root",
    "data.threads",
    "data.workers",
    "data.check_headers",
    "data.timeout_s",
    "data.max_pixels",
    "eval.batch",
    "eval.examples",
    "eval.every",
    "eval.domains",
    "eval.trust",
    "backbone.remat",
}
NEEDED = {"name": str, "train.seed": int, "data.kind": str}
PARTS = {"GSE": "gse.enabled", "MIM": "mim.enabled", "style": "style.probability"}


@dataclass(frozen=True)
class Experiment:
    """A scored run by its configuration and report alone; its weights stay on disk.

    Attributes:
      place: its workdir.
      config: its configuration, flat: {"train.seed": 42, …}.
      report: its report.json.
    """

    place: Path
    config: Mapping[str, Any]
    report: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`config.name`, the name of the configuration file and its argument."""
        return self.config["name"]

    @property
    def step(self) -> int | None:
        """Training steps of the scored checkpoint."""
        return self.report["about"].get("step")

    @property
    def trained_on(self) -> tuple[Any, ...]:
        """The training data, whatever the configuration is called."""
        keys = "data.kind", "data.train", "data.climate"
        return tuple(self.config.get(key) for key in keys)

    @property
    def variant(self) -> str:
        """Which parts of the method are on."""
        missing = [part for part, key in PARTS.items() if not self.config[key]]
        if len(missing) == len(PARTS):
            return "Rein baseline"
        return f"CrossEarth without {', '.join(missing)}" if missing else "CrossEarth"


@dataclass(frozen=True)
class Group:
    """Runs of one source that differ only by seed.

    Attributes:
      name: `config.name` of all of them.
      label: variant, and what tells the group from others of the same.
      runs: at least one.
    """

    name: str
    label: str
    runs: tuple[Experiment, ...]

    @property
    def repeated_seeds(self) -> bool:
        """Whether two runs have one seed, so that they are not independent."""
        seeds = [run.config["train.seed"] for run in self.runs]
        return len(set(seeds)) < len(seeds)


def read_experiment(workdir: str | Path) -> Experiment:
    """Reads config.json and report.json of a workdir.

    Raises:
      ValueError: one is not there, no JSON, or not what a run writes.
    """
    place = Path(workdir)
    config, report = _json(place / "config.json"), _json(place / "report.json")
    if not report.get("domains"):
        raise ValueError(
            f"got no scored domain in {place / 'report.json'}, expected some: score "
            f"the run with `crossearth eval --config FILE --workdir {place}`"
        )
    flat = dict(flattened(config))
    needed = NEEDED | dict.fromkeys(PARTS.values(), (bool, int, float))
    wrong = [key for key in needed if not isinstance(flat.get(key), needed[key])]
    if wrong:
        raise ValueError(
            f"got a config.json in {place} without a sound {', '.join(sorted(wrong))}, "
            "expected what `crossearth train` writes: score the run again"
        )
    try:
        check_report(report)
    except ValueError as error:
        raise ValueError(
            f"{place / 'report.json'}: {error}: score the run again with "
            "`crossearth eval`"
        ) from error
    return Experiment(place, flat, report)


def group_experiments(experiments: Sequence[Experiment]) -> list[Group]:
    """Groups in order of first appearance.

    Raises:
      ValueError: a workdir is given twice.
    """
    places = [experiment.place.resolve() for experiment in experiments]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"got the workdir {place} twice, expected it once")
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(_identity(experiment), []).append(experiment)
    firsts = [runs[0] for runs in groups.values()]
    return [
        Group(runs[0].name, _label(runs[0], firsts), tuple(runs))
        for runs in groups.values()
    ]


def _material(experiment: Experiment) -> dict[str, Any]:
    kept = {k: v for k, v in experiment.config.items() if k not in IMMATERIAL}
    return kept | {"step": experiment.step}


def _identity(experiment: Experiment) -> str:
    about = experiment.name, _material(experiment)
    return json.dumps(about, sort_keys=True)


def _label(experiment: Experiment, firsts: Sequence[Experiment]) -> str:
    """The variant, and the keys that differ among its groups on one training set."""
    about = experiment.trained_on, experiment.variant
    alike = [
        _material(other)
        for other in firsts
        if (other.trained_on, other.variant) == about
    ]
    own = _material(experiment)
    keys = sorted({key for other in alike for key in other})
    differing = [
        key for key in keys if len({json.dumps(one.get(key)) for one in alike}) > 1
    ]
    shown = ", ".join(f"{key}={own.get(key)}" for key in differing)
    return f"{experiment.variant} ({shown})" if shown else experiment.variant


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"got no {path.name} in {path.parent}, expected the workdir of a scored "
            "run: train it, or score it with `crossearth eval`"
        )
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"got {path}, expected JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"got {path} without a JSON object in it, expected what `crossearth train` "
            "writes: copy it from the run, or score the run again"
        )
    return content
