"""`crossearth umap CHECKPOINT --out DIR`: features by class and domain, and gaps."""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.options import add_model
from crossearth_jax.commands.parser import make_parser
from crossearth_jax.commands.predict_as_trained import as_trained
from crossearth_jax.commands.predict_inputs import find_sources
from crossearth_jax.commands.predict_options import add_reading, reading_of
from crossearth_jax.commands.umap_scenes import sample_scene
from crossearth_jax.data.classes import KINDS, ClassSet
from crossearth_jax.data.datasets import ScoredDomain
from crossearth_jax.features.domains import choose_domains
from crossearth_jax.features.extractor import (
    Extractor,
    has_injector,
    make_extractor,
)
from crossearth_jax.features.gap import domain_gaps, needed, silhouettes
from crossearth_jax.features.pca import fit_basis
from crossearth_jax.features.plot import MARKERS, Scatter, embed, write_scatter
from crossearth_jax.features.sample import Bounds, Sample, sample_domain
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.predict.sources import Source
from crossearth_jax.report.table import Section, Table
from crossearth_jax.run.trained import TrainedRun, load_run
from crossearth_jax.system.compiling import set_up_compiler
from crossearth_jax.system.escape import csv_cell, terminal
from crossearth_jax.system.whole_file import whole_file

DIMENSIONS = 64  # of the space that everything is computed in
TOKENS_PER_DIMENSION = 4  # at least, or a covariance would be noise


def main(argv: Sequence[str]) -> int:
    """Runs the command."""
    return guarded(run, _parser().parse_args(argv))


def run(options: argparse.Namespace) -> None:
    """Samples features, draws them and measures the gaps."""
    set_up_compiler()
    for library in ("matplotlib", "umap", "sklearn"):
        needed(library)
    bounds = Bounds(options.per_class, options.images, options.purity, options.seed)
    trained = load_run(options.checkpoint, options.precision, options.step)
    classes = trained.classes
    domains = choose_domains(trained, options.domains, options.encoding)
    sources = find_sources(options.scenes)
    if len(domains) + len(sources) > len(MARKERS):
        raise ValueError(
            f"got {len(domains)} domains and {len(sources)} scenes, expected at most "
            f"{len(MARKERS)} together: choose with --domains and --scenes"
        )
    injector = has_injector(trained) if options.injector is None else options.injector
    extract = make_extractor(
        trained, taps=[options.tap - 1], variants=[injector], batch=options.batch
    )
    samples = _sampled(extract, trained.classes, domains, bounds)
    scenes = _scenes(extract, trained, sources, bounds, options)
    reduced, explained = reduced_samples([*samples, *scenes])
    seen = {"tap": options.tap, "injector": injector}
    numbers = {
        "about": {**trained.about(), "features": seen, "bounds": asdict(bounds)},
        "dimensions": reduced[0].features.shape[1],
        "explained_variance": explained,
        **measured(reduced[: len(samples)], classes, options.seed),
        "scenes": {one.domain: len(one.classes) for one in scenes},
    }
    points = drawn(reduced, _title(trained, options.tap, injector), options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = [options.out / f"umap.{kind}" for kind in ("png", "svg")]
    write_scatter(points, classes, pictures)
    _write_points(options.out / "umap.csv", points, reduced, domains, classes)
    with whole_file(options.out / "umap.json") as place:
        place.write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    print(report(numbers))
    print(f"\npicture: {pictures[0]}, numbers: {options.out / 'umap.json'}")


def _scenes(
    extract: Extractor,
    trained: TrainedRun,
    sources: Sequence[Source],
    bounds: Bounds,
    options: argparse.Namespace,
) -> list[Sample]:
    """A sample of each scene without labels."""
    if not sources:
        return []
    reading = as_trained(reading_of(options), trained.raw_images, options)
    samples = []
    for source in sources:
        samples.append(sample_scene(extract, source, reading, bounds))
        count = len(samples[-1].classes)
        print(f"{terminal(source.stem)}: {count} tokens of a scene", flush=True)
    return samples


def _sampled(
    extract: Extractor,
    classes: ClassSet,
    domains: Sequence[ScoredDomain],
    bounds: Bounds,
) -> list[Sample]:
    """A sample of each domain; prints what was found while the next is computed."""
    samples = []
    for domain in domains:
        sample = sample_domain(
            lambda image: extract(image)[0, 0],
            domain,
            num_classes=len(classes.names),
            token=extract.token,
            bounds=bounds,
        )
        print(_counted(sample, classes), flush=True)
        samples.append(sample)
    return samples


def _title(trained: TrainedRun, tap: int, injector: bool) -> str:
    variant = "with" if injector else "without"
    step = int(trained.state.step)
    return f"{trained.settings.name}, step {step}, tap {tap} {variant} Injector"


def reduced_samples(samples: Sequence[Sample]) -> tuple[list[Sample], float]:
    """Samples along the principal components of all of them together.

    Returns:
      The samples in at most `DIMENSIONS`, fewer where a domain has few tokens, and the
      share of the variance that they keep.
    """
    least = min(len(sample.classes) for sample in samples)
    dimensions = max(2, min(DIMENSIONS, least // TOKENS_PER_DIMENSION))
    basis = fit_basis([sample.features for sample in samples], dimensions)
    reduced = [replace(s, features=basis.project(s.features)) for s in samples]
    return reduced, float(basis.explained.sum())


def measured(samples: Sequence[Sample], classes: ClassSet, seed: int) -> dict[str, Any]:
    """Counts, gaps and silhouettes, as `umap.json` has them."""
    which = np.repeat(np.arange(len(samples)), [len(s.classes) for s in samples])
    names = [sample.domain for sample in samples]
    features = np.concatenate([sample.features for sample in samples])
    ids = np.concatenate([sample.classes for sample in samples])
    return {
        "tokens": {s.domain: _counts(s, classes) for s in samples},
        "gaps": [asdict(gap) for gap in domain_gaps(samples, seed)],
        "silhouette": dict(silhouettes(features, ids, which, names)),
    }


def drawn(samples: Sequence[Sample], title: str, seed: int) -> Scatter:
    """The tokens of all domains in the plane."""
    return Scatter(
        places=embed(np.concatenate([sample.features for sample in samples]), seed),
        classes=np.concatenate([sample.classes for sample in samples]),
        domains=np.repeat(np.arange(len(samples)), [len(s.classes) for s in samples]),
        names=[sample.domain for sample in samples],
        title=title,
    )


def _counts(sample: Sample, classes: ClassSet) -> dict[str, int]:
    counts = np.bincount(sample.classes, minlength=len(classes.names)).tolist()
    return dict(zip(classes.names, counts, strict=True))


def _counted(sample: Sample, classes: ClassSet) -> str:
    counts = (f"{n} {name}" for name, n in _counts(sample, classes).items())
    images = len(np.unique(sample.images))
    listed = terminal(", ".join(counts), 1_000)
    return f"{terminal(sample.domain)}: {listed} tokens of {images} images"


def report(numbers: Mapping[str, Any]) -> str:
    """The gaps and silhouettes as text."""
    rows = [
        (
            _pair(gap),
            str(gap["tokens"]),
            _number(gap["frechet"]),
            _number(gap["proxy_a"]),
        )
        for gap in numbers["gaps"]
    ]
    table = Table(("domains", "tokens", "Fréchet", "proxy-A"), "lrrr", [Section(rows)])
    silhouette = numbers["silhouette"]
    parts = (f"{terminal(name)} {_number(value)}" for name, value in silhouette.items())
    shown = f"silhouette between classes: {', '.join(parts)}"
    return "\n".join(["", table.as_text(), "", shown])


def _pair(gap: Mapping[str, Any]) -> str:
    first, second = terminal(gap["first"]), terminal(gap["second"])
    return f"{first}, two halves" if first == second else f"{first} - {second}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _write_points(
    path: Path,
    points: Scatter,
    samples: Sequence[Sample],
    domains: Sequence[ScoredDomain],
    classes: ClassSet,
) -> None:
    """One line per point: which image it comes from, and where it is drawn."""
    known = [
        [domain.source.names[place] for place in sample.images.tolist()]
        for domain, sample in zip(domains, samples, strict=False)
    ]
    scenes = [[one.domain] * len(one.classes) for one in samples[len(domains) :]]
    images = list(chain.from_iterable([*known, *scenes]))
    names = [points.names[i] for i in points.domains.tolist()]
    kinds = ["" if k == IGNORE else classes.names[k] for k in points.classes.tolist()]
    with whole_file(path) as place, place.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("x", "y", "class", "domain", "image"))
        places = points.places.tolist()
        for (x, y), *rest in zip(places, kinds, names, images, strict=True):
            writer.writerow((f"{x:.6g}", f"{y:.6g}", *map(csv_cell, rest)))


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "crossearth umap",
        "Features of tokens by class and domain in a plane, and numbers: how far the "
        "domains\nlie apart, how well the classes do.",
    )
    add_model(parser)
    add = parser.add_argument
    add("--tap", type=int, choices=(1, 2, 3, 4), default=4, help="default 4, the last")
    add(
        "--domains",
        metavar="NAME|NAME=IMAGES:LABELS,…",
        help="default those of the run",
    )
    add("--encoding", choices=KINDS, help="of the others' labels; default the run's")
    add("--per-class", type=int, default=200, help="tokens of a class and domain")
    add("--images", type=int, default=100, help="of a domain, drawn at random")
    add(
        "--purity",
        type=float,
        default=0.75,
        help="share of a token's pixels that are of one class; default 0.75",
    )
    add("--seed", type=int, default=0, help="of the draws, the folds and UMAP")
    add(
        "--scenes",
        nargs="+",
        default=(),
        metavar="SCENE",
        help="rasters without labels, marked among the domains",
    )
    add_reading(parser)
    return parser
