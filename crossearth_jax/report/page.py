"""The report of one or several runs as one HTML file that needs nothing else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.report import charts
from crossearth_jax.report.assets import asset, content_policy
from crossearth_jax.report.curves import curves
from crossearth_jax.report.errors import confusions
from crossearth_jax.report.experiments import Experiment
from crossearth_jax.report.layers import class_layers, error_layers, photo
from crossearth_jax.report.pictures import COLUMNS
from crossearth_jax.report.score_table import mean_fraction, percent
from crossearth_jax.report.sheet import Sheet
from crossearth_jax.report.table import Section, Table
from crossearth_jax.report.trust_view import trust_section
from crossearth_jax.scoring.counts import DomainCounts
from crossearth_jax.scoring.domain import Example
from crossearth_jax.system.escape import html_text as escaped

CELL = 300  # characters of a name or a note in a table


@dataclass(frozen=True)
class Shown:
    """An image that the page shows.

    Attributes:
      domain: where it is from.
      example: the image, its truth and its prediction.
      why: "best", "median", "worst", or what it costs.
      miou: of the image alone, fraction of 1.
    """

    domain: str
    example: Example
    why: str
    miou: float


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
    style = (
        asset("page.css")
        + asset("figure.css")
        + "".join(_toggles(i, r) for i, r in enumerate(runs))
    )
    script = asset("page.js")
    policy = content_policy(style, script)
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title, CELL)}</title><style>{style}</style></head><body>"
    )
    yield _navigation(runs)
    yield f"<header><h1>{escaped(title)}</h1></header><main>"
    several = len(runs) > 1
    tables = _figure(figure) + "".join(_sheet(sheet) for sheet in sheets)
    if several:
        yield tables
    for i, run in enumerate(runs):
        yield from _run(i, run, "" if several else tables, several=several)
    yield f"</main><script>{script}</script></body></html>\n"


def _run(index: int, run: RunView, tables: str, *, several: bool) -> Iterator[str]:
    """One run; `tables` follow its own scores."""
    place = escaped(str(run.experiment.place))
    if several:
        yield f'<h2 id="run{index}">{escaped(run.experiment.name)}: {place}</h2>'
    for note in run.missing:
        yield f'<p class="soft">Not shown: {escaped(note)}</p>'
    yield _summary(index, run)
    yield _scores(run)
    yield tables
    yield from _failures(index, run)
    yield from _domains(index, run)
    yield _calibration(run)
    yield trust_section(run.trust, run.least)
    yield curves(run.metrics)
    yield _inputs(run)
    yield _origin(run)


# ---- parts of a run -----------------------------------------------------------------


def _summary(index: int, run: RunView) -> str:
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
        f'<section id="summary{index}"><h2>Summary</h2>'
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
        f"{_scrolling(table)}</section>"
    )


def _failures(index: int, run: RunView) -> Iterator[str]:
    domains = run.experiment.report["domains"]
    classes = run.experiment.report["classes"]
    yield f'<section id="errors{index}"><h2>Where it fails</h2><ul>'
    for name, domain in domains.items():
        for one in confusions(name, np.array(domain["confusion"]), classes):
            yield f"<li>{escaped(str(one))}</li>"
    yield "</ul>"
    if run.costly or run.shown:
        yield _legend(index, run)
    if run.costly:
        yield (
            "<h3>The images that cost most</h3><p>Without one of them the mIoU of its "
            'domain would be higher by the points given.</p><div class="examples">'
        )
        for shown in run.costly:
            yield _example(index, run.classes, shown)
        yield "</div>"
    yield "</section>"


def _domains(index: int, run: RunView) -> Iterator[str]:
    yield f'<section id="domains{index}"><h2>Domain by domain</h2>'
    for name, domain in run.experiment.report["domains"].items():
        what = f"{name} ({domain['role']}), mIoU {percent(domain['mIoU'])} %"
        yield f"<h3>{escaped(what)}</h3>"
        yield _heat(np.array(domain["confusion"]), run.experiment.report["classes"])
        yield '<div class="examples">'
        for shown in run.shown.get(name, ()):
            yield _example(index, run.classes, shown)
        yield "</div>"
    yield "</section>"


def _heat(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """Confusion matrix, shares of each true class."""
    whole = np.maximum(matrix.sum(1, keepdims=True), 1)
    shares = 100 * matrix / whole
    rows = "".join(
        f"<tr><th>{escaped(name, CELL)}</th>"
        + "".join(f'<td style="--share:{s:.0f}%">{s:.1f}</td>' for s in row)
        + "</tr>"
        for name, row in zip(classes, shares, strict=True)
    )
    head = "".join(
        f"<th>{escaped(name, CELL)}</th>" for name in ["true \\ called", *classes]
    )
    return (
        '<div class="scroll"><table class="heat"><caption class="soft">Of each true '
        "class, the share of its pixels that was called what, in %</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


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
        f"<details><summary>Configuration</summary><pre>{escaped(config)}</pre></details>"
        "<details><summary>Versions, data and commands</summary>"
        f"<pre>{escaped(origin)}</pre></details></section>"
    )


# ---- pieces -------------------------------------------------------------------------


def _example(index: int, classes: ClassSet, shown: Shown) -> str:
    one = shown.example
    height, width = one.truth.shape
    maps = {
        "truth": _layers(index, class_layers(one.truth, classes.palette)),
        "prediction": _layers(index, class_layers(one.prediction, classes.palette)),
        "error": "".join(
            f'<img src="{uri}" alt="">'
            for uri in error_layers(one.truth, one.prediction)
        ),
    }
    base = f'<img class="photo" src="{photo(one.image)}" alt="">'
    panes = {"image": base, **{name: base + maps[name] for name in maps}}
    views = "".join(
        f'<figure class="view" data-name="{name}"><div class="pane" role="img" '
        f'aria-label="{name} of {escaped(one.name)}" style="--aspect:{width}/{height}">'
        f"{panes[name]}</div><figcaption>{name}</figcaption></figure>"
        for name in COLUMNS
    )
    miou = (
        "no annotated pixel"
        if np.isnan(shown.miou)
        else f"mIoU {percent(shown.miou)} %"
    )
    stops = "".join(f"<span>{name}</span>" for name in COLUMNS)
    return (
        f'<div class="example"><div><b>{escaped(shown.why)}</b>: '
        f"{escaped(shown.domain)}, {escaped(one.name)}, {miou}</div>"
        f'<div class="views">{views}</div><div class="slider">'
        '<input type="range" min="0" max="3" step="0.05" value="0" aria-label="'
        f'from image over truth and prediction to error of {escaped(one.name)}">'
        f'<div class="stops" aria-hidden="true">{stops}</div></div></div>'
    )


def _layers(index: int, layers: Sequence[tuple[int, str]]) -> str:
    return "".join(
        f'<img class="r{index}k{k}" src="{uri}" alt="">' for k, uri in layers
    )


def _legend(index: int, run: RunView) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" id="r{index}k{k}" checked>'
        f'<span class="swatch" style="background:rgb{colour}"></span>'
        f"<span>{escaped(name)}</span></label>"
        for k, (name, colour) in enumerate(
            zip(run.classes.names, run.classes.palette, strict=True)
        )
    )
    return f'<fieldset class="legend"><legend>Classes shown</legend>{boxes}</fieldset>'


def _toggles(index: int, run: RunView) -> str:
    """A box that is not ticked hides its class's layers; no script."""
    return "".join(
        f"body:has(#r{index}k{k}:not(:checked)) .r{index}k{k}{{visibility:hidden}}"
        for k in range(len(run.classes.names))
    )


def _navigation(runs: Sequence[RunView]) -> str:
    parts = [("summary", "Summary"), ("errors", "Errors"), ("domains", "Domains")]
    links = [
        (f"#{part}{i}", name if len(runs) == 1 else f"{name} {i + 1}")
        for i in range(len(runs))
        for part, name in parts
    ]
    items = "".join(
        f'<li><a href="{where}">{escaped(name)}</a></li>' for where, name in links
    )
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


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
        f"<section><h2>{escaped(table.title)}</h2>{_scrolling(table)}{notes}</section>"
    )


def _scrolling(table: Table) -> str:
    return f'<div class="scroll">{table.as_html()}</div>'
