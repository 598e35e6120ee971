"""The scatter plot of features (paper Figures 7, 8, 10); needs the extra `umap`."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.features.gap import needed
from crossearth_jax.pixels.labels import IGNORE
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.whole_file import whole_file

# Okabe and Ito's colours, which the colour-blind can tell apart; yellow and black last.
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#D55E00",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
UNLABELLED = "#999999"
MARKERS = ("o", "*", "^", "s", "D", "P", "X", "v")
NEIGHBOURS = 15
LEAST = 5  # points that can be drawn
SAME_FILE = {"svg.hashsalt": "crossearth", "font.family": "DejaVu Sans"}


@dataclass(frozen=True)
class Scatter:
    """Points of classes and domains in a plane, and a title.

    Attributes:
      places: in the plane.
      classes: class ids.
      domains: places in `names`.
      names: of the domains.
      title: of the picture.
    """

    places: Float[np.ndarray, "n 2"]
    classes: Int[np.ndarray, "n"]
    domains: Int[np.ndarray, "n"]
    names: Sequence[str]
    title: str


def embed(features: Float[np.ndarray, "n d"], seed: int) -> Float32[np.ndarray, "n 2"]:
    """UMAP to the plane, the same for the same seed on one machine.

    The neighbours are exact: UMAP's own search approximates those of more than 4096
    points, and compiles for longer.

    Raises:
      ValueError: there are too few features.
    """
    if len(features) < LEAST:
        raise ValueError(
            f"got {len(features)} tokens, expected {LEAST} or more: raise --per-class "
            "or --images"
        )
    count = min(NEIGHBOURS, len(features) - 1)
    search = needed("sklearn.neighbors").NearestNeighbors(n_neighbors=count)
    distances, neighbours = search.fit(features).kneighbors(features)
    umap = needed("umap").UMAP(
        n_neighbors=count,
        precomputed_knn=(neighbours, distances.astype(np.float32)),
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # That new points cannot be placed: there will be none.
        warnings.filterwarnings("ignore", message="precomputed_knn", module="umap")
        return umap.fit_transform(features).astype(np.float32)


def write_scatter(points: Scatter, classes: ClassSet, paths: Sequence[Path]) -> None:
    """Draws classes by colour and domains by marker; and once more domains by colour.

    Args:
      points: at most as many domains as there are `MARKERS`.
      classes: names; the palette colours them where they are more than `COLOURS`.
      paths: .png or .svg files; they hold no date, so the same points give the same.
    """
    matplotlib = needed("matplotlib")
    with matplotlib.rc_context(SAME_FILE):
        figure = needed("matplotlib.figure").Figure(figsize=(13, 6.4), dpi=150)
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2)
        present = [k for k in range(len(classes.names)) if (points.classes == k).any()]
        kinds = [(k, classes.names[k], class_colour(classes, k)) for k in present]
        if (points.classes == IGNORE).any():
            kinds.append((IGNORE, "scene without labels", UNLABELLED))
        by_domain = [(i, name, COLOURS[i]) for i, name in enumerate(points.names)]
        by_class = "class by colour, domain by marker (as on the right)"
        _panel(left, points, points.classes, kinds, by_class)
        _panel(right, points, points.domains, by_domain, "domain by colour and marker")
        patch = needed("matplotlib.patches").Patch
        _legend(
            left, [patch(color=colour, label=plain(name)) for _, name, colour in kinds]
        )
        line = needed("matplotlib.lines").Line2D
        marked = {"linestyle": "", "markersize": 8}
        _legend(
            right,
            [
                line(
                    [], [], color=colour, marker=MARKERS[i], label=plain(name), **marked
                )
                for i, name, colour in by_domain
            ],
        )
        figure.suptitle(plain(points.title))
        for path in paths:
            kind = path.suffix[1:]
            undated = {"Date": None} if kind == "svg" else {"Software": None}
            with whole_file(path) as place:
                figure.savefig(place, format=kind, metadata=undated)


def plain(text: str) -> str:
    """Text for a figure, in which matplotlib finds no formula."""
    return terminal(text, 60).replace("$", r"\$")


def class_colour(classes: ClassSet, k: int) -> Any:
    """Distinct for everybody where the classes are few, else the class's own."""
    if len(classes.names) <= len(COLOURS):
        return COLOURS[k]
    return tuple(c / 255 for c in classes.palette[k])


def _panel(
    axes: Any,
    points: Scatter,
    kinds: Int[np.ndarray, "n"],
    colours: Sequence[tuple[int, str, Any]],
    title: str,
) -> None:
    """All points of one panel, in an order that lets no domain cover the others."""
    lookup = {kind: colour for kind, _, colour in colours}
    rounds = np.zeros(len(kinds), int)
    for i in range(len(points.names)):
        inside = points.domains == i
        rounds[inside] = np.arange(inside.sum()) // 25
    for turn in range(rounds.max() + 1):
        for i in range(len(points.names)):
            chosen = (rounds == turn) & (points.domains == i)
            x, y = points.places[chosen].T
            axes.scatter(
                x,
                y,
                s=34 if MARKERS[i] == "*" else 16,
                c=[lookup[k] for k in kinds[chosen].tolist()],
                marker=MARKERS[i],
                alpha=0.8,
                linewidths=0.3,
                edgecolors="white",
            )
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")


def _legend(axes: Any, handles: Sequence[Any]) -> None:
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "frameon": False}
    axes.legend(handles=handles, ncols=4, **below)
