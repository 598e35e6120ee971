"""Scenes read as the run's images were, unless the command line says otherwise."""

import argparse
from dataclasses import replace

from absl import logging

from crossearth_jax.data.raw_images import RawImages, scale_in_words
from crossearth_jax.predict.scene import Reading


def as_trained(
    reading: Reading, trained: RawImages | None, options: argparse.Namespace
) -> Reading:
    """Completes a reading; prints what comes from training, warns of what does not.

    Args:
      reading: of the command line.
      trained: what the run's images were; None for ordinary ones.
      options: of the command line, `--percentiles` among them.
    """
    if trained is None:
        return reading
    bands, scale, gsd = trained.bands, trained.scale, trained.gsd
    if reading.bands and bands and reading.bands != (bands if bands[1:] else bands * 3):
        _warn(f"--bands {_commas(reading.bands)}", f"on bands {_commas(bands)}")
    if reading.scale and scale and {reading.scale} != set(scale):
        given = f"--scale {_commas(reading.scale)}"
        _warn(given, f"on images scaled {scale_in_words(scale)}")
    if options.percentiles and scale and not reading.scale:
        given = f"--percentiles {_commas(options.percentiles)}"
        _warn(given, f"on images scaled {scale_in_words(scale)}")
        trained = replace(trained, scale=())
    if reading.gsd and gsd and reading.gsd != gsd:
        _warn(f"--gsd {reading.gsd:g}", f"at {gsd:g} m")
    used = RawImages(
        () if reading.bands else trained.bands, () if reading.scale else trained.scale
    )
    if words := used.words():
        print(f"{words} as in training", flush=True)
    return replace(reading, trained=trained)


def _commas(numbers: tuple) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _warn(given: str, trained: str) -> None:
    logging.warning("got %s for a run that was trained %s", given, trained)
