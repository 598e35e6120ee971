"""Which id of a two-class head is the foreground, and the exchange of the two.

The authors' configurations of roads and buildings name id 0 "Road" or "Building" and
id 1 "Background"; here background is 0, as in the labels that `prepare` writes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from weights_convert.files.lazy_tensor import LazyTensor

HEAD = ("decoder.class_head.kernel", "decoder.class_head.bias")
BACKGROUND = "background"


def names_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The classes that a checkpoint names; empty where it does not."""
    found: Any = metadata.get("meta", {})
    for key in ("dataset_meta", "classes"):
        found = found.get(key, ()) if isinstance(found, Mapping) else ()
    if isinstance(found, list | tuple) and all(isinstance(x, str) for x in found):
        return tuple(found)
    return ()


def is_behind(names: tuple[str, ...], background: int) -> bool:
    """Whether a two-class head has its background as id 1.

    Args:
      names: of its classes; what they say goes first.
      background: its id where they say nothing, from what is known of the file.
    """
    lowered = [name.lower() for name in names]
    if background and len(names) == 2 and BACKGROUND in lowered:
        return lowered.index(BACKGROUND) == 1
    return background == 1


def describe(names: tuple[str, ...], swapped: bool) -> str:
    """What the ids of a two-class head mean, for the user."""
    done = "; exchanged, so that background is 0" if swapped else ""
    lowered = [name.lower() for name in names]
    if len(names) != 2 or BACKGROUND not in lowered:
        return (
            "two, which the checkpoint does not name: the authors' configurations have "
            f"background as id 1, this project as 0{done or '; try --swap-classes'}"
        )
    place = lowered.index(BACKGROUND)
    hint = "" if done or place == 0 else "; --swap-classes makes background 0"
    return (
        f"foreground is id {1 - place} ({names[1 - place]}) in the source{done}{hint}"
    )


def exchanged(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The tensors with classes 0 and 1 of the head exchanged.

    Raises:
      ValueError: it has another number of classes than two.
    """
    classes = tensors[HEAD[1]].shape[0] - 1
    if classes != 2:
        raise ValueError(
            f"got --swap-classes for a head of {classes} classes, expected 2: leave it "
            "out"
        )
    swapped = {
        name: LazyTensor.of(np.take(tensors[name].read(), [1, 0, 2], axis=-1))
        for name in HEAD
    }
    return {**tensors, **swapped}
