"""One picture per domain: image, truth, prediction and error, with a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from crossearth_jax.pixels.contact_sheet import (
    Picture,
    class_map,
    contact_sheet,
    fitted,
    fitted_ids,
)
from crossearth_jax.pixels.labels import IGNORE, Colour
from crossearth_jax.pixels.legend import class_entries, hatch, not_annotated, swatch
from crossearth_jax.scoring.domain import Example

RIGHT, WRONG = (150, 208, 150), (196, 32, 44)  # differ in lightness too
COLUMNS = ("image", "truth", "prediction", "error")


def domain_picture(
    title: str,
    examples: Sequence[Example],
    names: Sequence[str],
    palette: Sequence[Colour],
) -> Image.Image:
    """Draws a row per example under column headers, and the class legend.

    Args:
      title: printed at the top.
      examples: rows from top to bottom; where the truth is `IGNORE` they are hatched.
      names: the classes, by id.
      palette: RGB of every class, as `names`.
    """
    error = [("right", swatch(RIGHT)), ("wrong", swatch(WRONG)), not_annotated()]
    return contact_sheet(
        [(example.name, _panels(example, palette)) for example in examples],
        columns=COLUMNS,
        title=title,
        groups={
            "classes:": [*class_entries(names, palette), not_annotated()],
            "error:": error,
        },
    )


def _panels(example: Example, palette: Sequence[Colour]) -> list[Picture]:
    """The four panels of a row, all of one size."""
    image = fitted(example.image)
    # The labels may be of another size than the image.
    truth = fitted_ids(example.truth, image)
    prediction = fitted_ids(example.prediction, image)
    right = (truth == prediction)[..., None]
    error = np.where(right, np.array(RIGHT, np.uint8), np.array(WRONG, np.uint8))
    ignored = (truth == IGNORE)[..., None]
    return [
        image,
        class_map(truth, palette),
        class_map(prediction, palette),
        np.where(ignored, hatch(*truth.shape), error),
    ]
