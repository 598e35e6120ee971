"""Images in a page: a slider through image, truth, prediction and error, and a legend.

Without a script, and on paper, the four stand side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossearth_jax.data.classes import ClassSet
from crossearth_jax.pixels.colour_vision import FAR, accessible, closest
from crossearth_jax.pixels.labels import IGNORED, Colour
from crossearth_jax.report.layers import class_layers, error_layers, photo
from crossearth_jax.report.pictures import COLUMNS, RIGHT, WRONG
from crossearth_jax.report.score_table import percent
from crossearth_jax.scoring.domain import Example
from crossearth_jax.system.escape import html_text as escaped

OPENED = COLUMNS.index("prediction")  # what a slider shows first
ERRORS = (("right", RIGHT), ("wrong", WRONG), ("not annotated", IGNORED))
GAIN = 5.0  # in CIELAB: an alternative that is worth naming


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


def example(index: int, classes: ClassSet, shown: Shown) -> str:
    """One image with its slider.

    Args:
      index: of the run, whose boxes hide its classes.
      classes: names and palette.
      shown: the image.
    """
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
    return (
        f'<div class="example"><div><b>{escaped(shown.why)}</b>: '
        f"{escaped(shown.domain)}, {escaped(one.name)}, {miou}</div>"
        f'<div class="views">{views}</div><div class="slider">'
        f'<input type="range" min="0" max="3" step="0.05" value="{OPENED}" aria-label="'
        f'from image over truth and prediction to error of {escaped(one.name)}">'
        f'<div class="stops" aria-hidden="true">{_stops(-1)}</div></div></div>'
    )


def legend(index: int, classes: ClassSet) -> str:
    """Boxes that show and hide classes, and buttons that move all sliders."""
    boxes = "".join(
        f'<label><input type="checkbox" id="r{index}k{k}" checked>'
        f"{_swatch(name, colour)}</label>"
        for k, (name, colour) in enumerate(
            zip(classes.names, classes.palette, strict=True)
        )
    )
    return (
        f'<fieldset class="legend"><legend>Classes shown</legend>{boxes}</fieldset>'
        f'{_key("Error", ERRORS)}<div class="all" role="group" aria-label="All images '
        f'show"><span>All images show</span>{_stops(0)}</div>{_alike(classes)}'
    )


def key(classes: ClassSet) -> str:
    """The colours of classes and errors, nothing to click."""
    named = list(zip(classes.names, classes.palette, strict=True))
    return _key("Classes", named) + _key("Error", ERRORS)


def toggles(index: int, classes: ClassSet) -> str:
    """Style by which a box that is not ticked hides its class's layers; no script."""
    return "".join(
        f"body:has(#r{index}k{k}:not(:checked)) .r{index}k{k}{{visibility:hidden}}"
        for k in range(len(classes.names))
    )


def _alike(classes: ClassSet) -> str:
    """Warns of colours that many people cannot tell apart."""
    i, j, distance = closest(classes.palette)
    better = closest(accessible(classes.palette))[2]
    if distance >= FAR or better < distance + GAIN:
        return ""
    pair = f"{escaped(classes.names[i])} and {escaped(classes.names[j])}"
    return (
        f'<p class="soft">To colour-blind eyes {pair} look much alike: '
        "<code>crossearth report --palette accessible</code> takes other colours.</p>"
    )


def _layers(index: int, layers: Sequence[tuple[int, str]]) -> str:
    return "".join(
        f'<img class="r{index}k{k}" src="{uri}" alt="">' for k, uri in layers
    )


def _stops(tab: int) -> str:
    """A button for each stop of a slider; -1: not reached by the Tab key."""
    return "".join(
        f'<button type="button" tabindex="{tab}" data-stop="{i}">{name}</button>'
        for i, name in enumerate(COLUMNS)
    )


def _key(what: str, colours: Sequence[tuple[str, Colour]]) -> str:
    swatches = "".join(f"<span>{_swatch(*one)}</span>" for one in colours)
    return f'<p class="key"><span>{what}:</span>{swatches}</p>'


def _swatch(name: str, colour: Colour) -> str:
    return (
        f'<span class="swatch" style="background:rgb{colour}"></span>'
        f"<span>{escaped(name)}</span>"
    )
