"""Where in a checkpoint the wanted network lies: which table, under which prefix.

Training wraps networks: DDP's `module.`, Lightning's `state_dict` of `model.…`, a
`teacher` beside its `student`, an average (EMA) beside the raw weights, `dinov2.` in
front of a classifier's backbone. A tensor that every network of a kind has, its anchor,
tells the prefix; what was chosen, and what was left out, is said in one line.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from crossearth_jax.system.escape import cut, quoted
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile, open_weights

T = TypeVar("T")

_MOST = 64  # networks in a file

# Parts of a prefix that say whose weights these are.
AVERAGED = frozenset(
    "ema ema_model model_ema state_dict_ema ema_state_dict params_ema "
    "averaged_model".split()
)
TAUGHT = frozenset({"student", "gram_teacher", "gram"})
_WRAPPED = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_CHUNKED = re.compile(r"((?:.*\.)?blocks)\.(\d{1,4})\.(\d{1,4})\.(.+)")


def open_source(
    path: str | Path,
    anchors: Sequence[str],
    *,
    prefix: str | None = None,
    ema: bool = False,
) -> tuple[WeightFile, dict[str, str]]:
    """Opens a checkpoint and finds a network in it.

    Args:
      path: see `open_weights`.
      anchors: names of tensors of which the wanted network has one.
      prefix: what stands before its names, where two networks would fit.
      ema: take the average (EMA, teacher) instead of the raw weights.

    Returns:
      The file with that network's tensors alone, without their prefix; and {"weights":
      which were taken} where there was something to choose.

    Raises:
      ValueError: see `open_weights`; several networks fit, or none does although
        `prefix` or `ema` asks for one.
    """
    file = open_weights(path, every_table=True)
    named = unwrapped(file.tensors)
    found = prefixes(named, anchors)
    if not found and prefix is None and not ema:
        # Not such a network: whoever asked says what was expected.
        return open_weights(path), {}
    try:
        chosen = choose(found, prefix, ema)
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error
    tensors = {
        key.removeprefix(chosen): tensor
        for key, tensor in named.items()
        if key.startswith(chosen)
    }
    tensors, chunks = joined_chunks(tensors)
    said = _said(chosen, found, _beside(named, chosen, found))
    if chunks:
        said.append(f"{chunks} chunks of blocks joined")
    facts = {"weights": "; ".join(said)} if said else {}
    return replace(file, tensors=tensors), facts


def unwrapped(tensors: Mapping[str, T]) -> dict[str, T]:
    """Names without what torch.compile, FSDP and activation checkpoints put in."""
    named = {_WRAPPED.sub("", key): tensor for key, tensor in tensors.items()}
    if len(named) < len(tensors):
        raise ValueError(
            "got two tensors of one name, but for _orig_mod. or the like, expected "
            "one: save the network alone"
        )
    return named


def prefixes(names: Mapping[str, object], anchors: Sequence[str]) -> list[str]:
    """What stands before an anchor, in the file's order: "", or ends with a point."""
    ends = tuple(anchors)
    found = {
        key.removesuffix(end): None
        for key in names
        if key.endswith(ends)
        for end in ends
        if key == end or key.endswith(f".{end}")
    }
    return list(found)


def choose(found: Sequence[str], prefix: str | None = None, ema: bool = False) -> str:
    """The prefix of the wanted network.

    Raw weights go before a teacher's, those before an average's, a student's come
    last: what is published of DINO's training is the teacher.

    Args:
      found: all prefixes of networks that fit.
      prefix: asked for, or its end.
      ema: whether the average is asked for.

    Raises:
      ValueError: none is fit, or several are.
    """
    if len(found) > _MOST:
        raise ValueError(f"got {len(found)} networks, expected at most {_MOST}")
    listed = ", ".join(cut(each or '""', 80) for each in found[:8]) or "none"
    if prefix is not None and ema:
        raise ValueError("got --prefix and --ema, expected one of them")
    if prefix is not None:
        wanted = f"{prefix.rstrip('.')}." if prefix else ""
        fitting = [each for each in found if each == wanted] or [
            each for each in found if wanted and each.endswith(f".{wanted}")
        ]
        if len(fitting) != 1:
            raise ValueError(
                f"got --prefix {quoted(prefix)}, expected one of those that fit: "
                f"{listed}"
            )
        return fitting[0]
    kinds = {each: role(each, found) for each in found}
    order = ("averaged", "teacher") if ema else ("raw", "teacher", "averaged", "other")
    for kind in order:
        if fitting := [each for each in found if kinds[each] == kind]:
            break
    else:
        raise ValueError(
            f"got --ema with a checkpoint of no average that fits ({listed}), expected "
            "one: leave --ema out"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"got {len(fitting)} networks that fit, expected one: choose with --prefix "
            f"one of {listed}"
        )
    return fitting[0]


def role(prefix: str, found: Sequence[str]) -> str:
    """Whose weights lie under a prefix: "raw", "averaged", "teacher" or "other"."""
    first, parts = prefix.partition(".")[0], {*prefix.split(".")}
    tops = {each.partition(".")[0] for each in found}
    if first == "ema_state_dict" and "state_dict" in tops:
        return "other"
    if first == "state_dict" and "ema_state_dict" in tops:
        return "averaged"  # mmengine exchanges the two before it saves
    if parts & TAUGHT:
        return "other"
    if "teacher" in parts:
        return "teacher"
    return "averaged" if parts & AVERAGED else "raw"


def joined_chunks(tensors: Mapping[str, T]) -> tuple[dict[str, T], int]:
    """`blocks.CHUNK.BLOCK.…` as `blocks.BLOCK.…`, and the number of chunks.

    DINOv2 counts blocks through all chunks; where every chunk starts again from 0, they
    are counted here. Names that are in neither form stay as they are.
    """
    matches = {key: _CHUNKED.fullmatch(key) for key in tensors}
    places = {(m[1], int(m[2]), int(m[3])) for m in matches.values() if m}
    lists = {name for name, _, _ in places}
    if len(lists) != 1:
        return dict(tensors), 0
    pairs = sorted((chunk, block) for _, chunk, block in places)
    blocks = [block for _, block in pairs]
    chunks = Counter(chunk for chunk, _ in pairs)
    restarts = [block for size in chunks.values() for block in range(size)]
    if blocks != list(range(len(pairs))) and blocks != restarts:
        return dict(tensors), 0
    number = {pair: i for i, pair in enumerate(pairs)}
    joined = {
        f"{m[1]}.{number[int(m[2]), int(m[3])]}.{m[4]}" if m else key: tensors[key]
        for key, m in matches.items()
    }
    return (joined, len(chunks)) if len(joined) == len(tensors) else (dict(tensors), 0)


def _beside(
    named: Mapping[str, LazyTensor], chosen: str, found: Sequence[str]
) -> dict[str, int]:
    """Numbers of tensors that are left out, by what stands before them."""
    depth = chosen.count(".")
    beside: dict[str, int] = {}
    for key in named:
        if not key.startswith(chosen) and not any(
            key.startswith(other) for other in found if other not in ("", chosen)
        ):
            group = ".".join(key.split(".")[: max(depth, 1)])
            beside[group] = beside.get(group, 0) + 1
    return beside


def _said(chosen: str, found: Sequence[str], beside: Mapping[str, int]) -> list[str]:
    """One line for the user, in parts."""
    said = [f"those under {chosen}"] if chosen else []
    if others := [each or '""' for each in found if each != chosen]:
        said = said or ["those without a prefix"]
        averages = [each for each in found if role(each, found) == "averaged"]
        how = "--prefix" + (" or --ema" if {*averages} - {chosen} else "")
        said.append(f"{how} takes another of {', '.join(others[:4])}")
    if chosen and beside:
        listed = [f"{count} of {name}" for name, count in beside.items()]
        more = f" and {len(listed) - 4} more groups" if len(listed) > 4 else ""
        said.append(f"left out: {', '.join(listed[:4])}{more}")
    return said
