"""The report of one or several runs as one HTML file that needs nothing else."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.report import charts
from crossearth_jax.report.assets import asset, content_policy
from crossearth_jax.report.curves import curves
from crossearth_jax.report.errors import confusions
from crossearth_jax.report.examples import Shown, example, key, legend, toggles
from crossearth_jax.report.experiments import Experiment
from crossearth_jax.report.layers import photo
from crossearth_jax.report.score_table import mean_fraction, percent
from crossearth_jax.report.sheet import Sheet
from crossearth_jax.report.table import Section, Table
from crossearth_jax.report.trust_view import trust_section
from crossearth_jax.report.wide_tables import confusion_table, scrolling
from crossearth_jax.scoring.counts import DomainCounts
from crossearth_jax.system.escape import html_text as escaped

CELL = 300  # characters of a name or a note in a table


@dataclass(frozen=True)
class RunView:
    """All that a page shows of one run: an `Experiment`, and what was found anew.

    Attributes:
      experiment: configuration and scores.
      classes: names and palette.
      counts: by domain; None where the scoring left none.
      shown: images by domain: best, median, worst.
      costly: the images that cost most mIoU.
      views: X, X_S, X_M and their reconstructions, by name.
      metrics: logged steps.
      provenance: starts of the run.
      missing: what could not be shown, and why.
      trust: of `trust_view.read_trust`.
      least: of `trust_view.read_least_trusted`.
    """

    experiment: Experiment
    classes: ClassSet
    counts: Mapping[str, DomainCounts | None]
    shown: Mapping[str, Sequence[Shown]]
    costly: Sequence[Shown]
    views: Mapping[str, UInt8[np.ndarray, "H W 3"]]
    metrics: Sequence[Mapping[str, float]]
    provenance: Sequence[Mapping[str, Any]]
    missing: Sequence[str] = field(default_factory=tuple)
    trust: Mapping[str, Any] | None = None
    least: str = ""


@dataclass(frozen=True)
class Part:
    """A section of the page.

    Attributes:
      anchor: its id.
      link: its name in the navigation.
      pieces: HTML, made when it is written.
    """

    anchor: str
    link: str
    pieces: Iterable[str]


def page(
    runs: Sequence[RunView], sheets: Sequence[Sheet], figure: str = ""
) -> Iterator[str]:
    """Pieces of the page, one image's at a time.

    Args:
      runs: in order.
      sheets: the runs beside the paper's tables or each other, see `compare`.
      figure: SVG of the same, see `figure`; "" for none.
    """
    names = [run.experiment.name for run in runs]
    title = f"CrossEarth report: {', '.join(dict.fromkeys(names))}"
    several = len(runs) > 1
    tables = _figure(figure) + "".join(_sheet(sheet) for sheet in sheets)
    compared = [Part("compared", "Compared", [tables])] if tables else []
    parts = [_parts(i, run, [] if several else compared) for i, run in enumerate(runs)]
    yield _head(title, runs)
    if several:
        places = [(f"run{i}", f"{name} {i + 1}") for i, name in enumerate(names)]
        yield _navigation([*((p.anchor, p.link) for p in compared), *places])
    else:
        yield _navigation([(part.anchor, part.link) for part in parts[0]])
    yield f"<header><h1>{escaped(title)}</h1></header><main>"
    if several:
        yield from _written(compared)
    for i, run in enumerate(runs):
        if several:
            name = f"{run.experiment.name} {i + 1}"
            place = escaped(str(run.experiment.place))
            yield f'<h2 id="run{i}" class="run">{escaped(name)}: {place}</h2>'
            links = [(part.anchor, part.link) for part in parts[i]]
            yield _navigation(links, f"Sections of {name}")
        for note in run.missing:
            yield f'<p class="soft">Not shown: {escaped(note)}</p>'
        yield from _written(parts[i])
    yield f"</main><script>{asset('page.js')}</script></body></html>\n"


def _head(title: str, runs: Sequence[RunView]) -> str:
    style = "".join(map(asset, ("page.css", "figure.css", "print.css")))
    style += "".join(toggles(i, run.classes) for i, run in enumerate(runs))
    policy = content_policy(style, asset("page.js"))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title, CELL)}</title><style>{style}</style></head><body>"
    )


def _parts(index: int, run: RunView, tables: Sequence[Part]) -> list[Part]:
    """The sections that this run has, in order; `tables` follow its own scores."""
    made = [
        ("summary", "Summary", [_summary(run)]),
        ("scores", "Scores", [_scores(run)]),
        ("errors", "Errors", _failures(index, run)),
        ("domains", "Domains", _domains(index, run)),
        ("calibration", "Calibration", [_calibration(run)]),
        ("trust", "Trust", [trust_section(run.trust, run.least)]),
        ("training", "Training", [curves(run.metrics)]),
        ("inputs", "Inputs", [_inputs(run)]),
        ("origin", "Origin", [_origin(run)]),
    ]
    own = [Part(f"{name}{index}", *rest) for name, *rest in made if rest[-1] != [""]]
    return [*own[:2], *tables, *own[2:]]


def _written(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        yield f'<div class="part" id="{part.anchor}">'
        yield from part.pieces
        yield "</div>"


# ---- parts of a run -----------------------------------------------------------------


def _summary(run: RunView) -> str:
    domains = run.experiment.report["domains"]

    source, unseen = (
        mean_fraction([d["mIoU"] for d in domains.values() if d["role"] == role])
        for role in ("source", "unseen")
    )
    means = (unseen, "mIoU in unseen domains, %"), (source, "mIoU in the source, %")
    tiles = [(percent(value), what) for value, what in means if value is not None]
    if source is not None and unseen is not None:
        tiles.append((percent(source - unseen), "points lost away from the source"))
    images = sum(domain["images"] for domain in domains.values())
    tiles.append((f"{images:,}", f"images scored in {len(domains)} domains"))
    drawn = "".join(
        f'<div class="tile"><b>{value}</b>{escaped(what)}</div>'
        for value, what in tiles
    )
    return (
        "<section><h2>Summary</h2>"
        "<p>mIoU is the mean over the classes of IoU, the share of pixels that truth "
        "and prediction share among those of either. Unseen domains gave no image "
        f'to the training.</p><div class="tiles">{drawn}</div></section>'
    )


def _scores(run: RunView) -> str:
    report = run.experiment.report
    classes = report["classes"]
    head = ["domain", "role", *classes, "mIoU", "mF1", "pixels right", "images"]
    rows = [
        [
            name,
            d["role"],
            *(percent(d["IoU"][c]) for c in classes),
            percent(d["mIoU"]),
            percent(d["mF1"]),
            percent(d["overall_accuracy"]),
            str(d["images"]),
        ]
        for name, d in report["domains"].items()
    ]
    table = Table(head, "ll" + "r" * (len(head) - 2), [Section(rows)])
    return (
        "<section><h2>Scores, %</h2><p>IoU of every class.</p>"
        f"{scrolling(table)}</section>"
    )


def _failures(index: int, run: RunView) -> Iterator[str]:
    domains = run.experiment.report["domains"]
    classes = run.experiment.report["classes"]
    yield "<section><h2>Where it fails</h2><ul>"
    for name, domain in domains.items():
        for one in confusions(name, np.array(domain["confusion"]), classes):
            yield f"<li>{escaped(str(one))}</li>"
    yield "</ul>"
    if run.costly or run.shown:
        yield legend(index, run.classes)
    if run.costly:
        yield (
            "<h3>The images that cost most</h3><p>Without one of them the mIoU of its "
            'domain would be higher by the points given.</p><div class="examples">'
        )
        for shown in run.costly:
            yield example(index, run.classes, shown)
        yield "</div>"
    yield "</section>"


def _domains(index: int, run: RunView) -> Iterator[str]:
    yield "<section><h2>Domain by domain</h2>"
    if run.shown:
        yield key(run.classes)
    for name, domain in run.experiment.report["domains"].items():
        what = f"{name} ({domain['role']}), mIoU {percent(domain['mIoU'])} %"
        yield f'<div class="domain"><h3>{escaped(what)}</h3>'
        matrix = np.array(domain["confusion"])
        yield confusion_table(matrix, run.experiment.report["classes"])
        yield '<div class="examples">'
        for shown in run.shown.get(name, ()):
            yield example(index, run.classes, shown)
        yield "</div></div>"
    yield "</section>"


def _calibration(run: RunView) -> str:
    drawn = []
    for name, counts in run.counts.items():
        if counts is None or not counts.confidence.pixels.sum():
            continue
        bins = counts.confidence
        lists = bins.pixels.tolist(), bins.right.tolist(), bins.total.tolist()
        drawn.append(
            f"<figure><figcaption>{escaped(name)}: calibration error "
            f"{percent(bins.ece)} points</figcaption>"
            + charts.reliability_chart(f"Reliability in {name}", *lists)
            + charts.histogram(f"Confidence in {name}", lists[0])
            + "</figure>"
        )
    if not drawn:
        return ""
    return (
        "<section><h2>Does it know when it is wrong?</h2><p>Below the dashed line, the "
        "model is surer than it is right. The calibration error is the mean distance "
        "from that line over all pixels. The second chart of each domain shows how "
        "many of its pixels have which confidence."
        f'</p><div class="charts">{"".join(drawn)}</div></section>'
    )


def _inputs(run: RunView) -> str:
    if not run.views:
        return ""
    drawn = "".join(
        f'<figure><img src="{photo(image)}" alt="{escaped(name)}">'
        f"<figcaption>{escaped(name)}</figcaption></figure>"
        for name, image in run.views.items()
    )
    return (
        "<section><h2>What the training shows the model</h2><p>X is a training image, "
        "X_S has Earth styles on some blocks, X_M hides some behind the visual prompt. "
        "The reconstructions come from the MIM decoder.</p>"
        f'<div class="triple">{drawn}</div></section>'
    )


def _origin(run: RunView) -> str:
    config = json.dumps(run.experiment.config, indent=1)
    origin = json.dumps(list(run.provenance), indent=1)
    return (
        "<section><h2>How it was made</h2>"
        '<p class="paper-only">What is closed here is in the HTML file.</p>'
        f"<details><summary>Configuration</summary><pre>{escaped(config)}</pre></details>"
        "<details><summary>Versions, data and commands</summary>"
        f"<pre>{escaped(origin)}</pre></details></section>"
    )


# ---- pieces -------------------------------------------------------------------------


def _navigation(links: Iterable[tuple[str, str]], label: str = "Sections") -> str:
    """Links to anchors of the page, by (anchor, name)."""
    items = "".join(
        f'<li><a href="#{anchor}">{escaped(name)}</a></li>' for anchor, name in links
    )
    return f'<nav aria-label="{escaped(label)}"><ul>{items}</ul></nav>'


def _figure(svg: str) -> str:
    if not svg:
        return ""
    return (
        "<section><h2>Beside the paper at a glance</h2><p>Figure 2 of the paper as "
        f"dots: one row a setting, all on one scale.</p>{svg}</section>"
    )


def _sheet(sheet: Sheet) -> str:
    table = sheet.table()
    notes = "".join(f'<p class="soft">{escaped(note)}</p>' for note in table.notes)
    return (
        f"<section><h2>{escaped(table.title)}</h2>{scrolling(table)}{notes}</section>"
    )
