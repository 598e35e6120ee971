"""What a run is made of, sealed with every checkpoint, and what may change about it.

A workdir that took another class order, other data or a hundredfold learning rate
without a word would train for a day and be wrong. So at every start the facts of the
newest checkpoint are compared with those of the configuration.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from absl import logging

from crossearth_jax import __version__
from crossearth_jax.build_data import Data
from crossearth_jax.config import default, flattened
from crossearth_jax.data.classes import LabelEncoding
from crossearth_jax.hub.weights import origin
from crossearth_jax.run.provenance import code_digest, sampled_contents
from crossearth_jax.system.read_json import read_json

# Keys that leave what is trained as it is: places (the data's digest is compared
# instead), what is scored and how, how often things are written, and by what they are
# computed and read.
FREE = (
    *("name", "workdir", "backbone.weights", "train.init"),
    *("data.root", "data.train", "data.source", "data.unseen"),
    *("data.classes", "data.encoding", "data.eval_scenes"),
    *("data.check_headers", "data.check_labels", "data.timeout_s"),
    *("data.threads", "data.workers", "data.max_pixels", "train.fsdp"),
    *("train.log_every", "train.checkpoint_every", "train.keep", "train.keep_every"),
    *("train.keep_best", "train.loggers"),
)
# What is compared beside the configuration, and what a difference in it is.
DIGESTS = {
    "data": "the names or sizes of training files",
    "contents": "the bytes of some training files",
    "weights": "the frozen weights",
    "code": "the version or source of crossearth_jax, as any update changes it",
}
FIXED = ("classes", "encoding")  # another one is another run
TOLD = ("weights_from",)  # kept to be read, never compared: digests are
# What scores depend on beside the classes.
SCORED = (
    *("backbone", "rein", "gse", "injector", "decoder", "mim"),
    *("data.crop", "data.bands", "data.scale"),
)

Facts = dict[str, Any]
Changes = dict[str, tuple[Any, Any]]


def facts(settings: Mapping[str, Any], data: Data, weights: str) -> Facts:
    """What a run is made of, as it is sealed.

    Args:
      settings: the whole configuration, nested.
      data: what the run reads.
      weights: digest of the frozen weights, "" if nothing is frozen.

    Returns:
      JSON values by key; those with a point are keys of the configuration.
    """
    known = getattr(data.train, "encoding", None)
    made = {
        "classes": list(data.classes.names),
        "encoding": _encoding(known, data.classes.palette),
        "data": hashlib.sha256(data.train.fingerprint().encode()).hexdigest(),
        "contents": sampled_contents(data),
        "weights": weights,
        "weights_from": _origin(settings),
        "code": f"{__version__} {code_digest()[:12]}",
    }
    return json.loads(json.dumps(made | _settings(settings)))


def _origin(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name and digests of the file of the backbone."""
    backbone, crop = settings["backbone"], settings["data"]["crop"]
    return origin(backbone["weights"], crop=crop, patch=backbone["patch_size"])


def _encoding(encoding: LabelEncoding | None, palette: Sequence[Any]) -> str:
    """What label values mean, in words."""
    if encoding is None:
        return "as drawn"
    parts = [f"{encoding.kind}, ignore {encoding.ignore}"]
    if encoding.kind == "colours":
        parts.append(f"colours {[tuple(colour) for colour in palette]}")
    if encoding.ids is not None:
        parts.append(f"ids {dict(encoding.ids)}")
    return ", ".join(parts)


def _settings(settings: Mapping[str, Any]) -> Facts:
    """The keys that shape a run, flat, under their dotted names."""
    return {key: value for key, value in flattened(settings) if not _is_free(key)}


def _is_free(key: str) -> bool:
    return key in FREE or key.startswith("eval.")


def of_workdir(workdir: Path) -> Facts:
    """What is known of a run whose checkpoints seal no facts, of an older version.

    Its config.json and classes.json: digests of its data and code are not compared.
    """
    known: Facts = {}
    try:
        known |= _settings(read_json(workdir / "config.json"))
        names = read_json(workdir / "classes.json")["names"]
        known["classes"] = list(names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logging.warning(
            "%s: its checkpoints do not say what they were trained with, and neither "
            "do config.json and classes.json (%s): nothing is compared",
            *(workdir, error),
        )
    return known


def differences(before: Facts, now: Facts) -> Changes:
    """{key: (old, new)} of what differs.

    A setting that one side does not know has its default there: it is of another
    version of this package. Where nothing is known of `before`, nothing differs.
    """
    if not before:
        return {}
    missing = json.loads(json.dumps(_settings(default().to_dict())))
    found = {}
    for key in [*now, *(key for key in before if key not in now)]:
        if key in TOLD:
            continue
        of_one_side = (key in before) != (key in now)
        if of_one_side and key not in missing and "." not in key:
            continue  # a digest that only one version seals
        old, new = (side.get(key, missing.get(key)) for side in (before, now))
        if old != new:
            found[key] = (old, new)
    return found


def check_keys(allow_changes: Sequence[str]) -> None:
    """Raises `ValueError` for a key that no run has."""
    known = {*DIGESTS, *dict(flattened(default().to_dict()))}
    if unknown := [key for key in allow_changes if key not in known]:
        near = get_close_matches(unknown[0], known, 1)
        raise ValueError(
            f"got --allow-changes {unknown[0]}, expected a key of the configuration or "
            f"{', '.join(DIGESTS)}{f', such as {near[0]}' if near else ''}"
        )


def check_training(
    before: Facts, now: Facts, allow_changes: Sequence[str], *, done: int
) -> list[str]:
    """Compares at the start of a training that goes on.

    Args:
      before: facts of the checkpoint.
      now: facts of the configuration.
      allow_changes: keys that may differ; the classes never may.
      done: steps of the checkpoint.

    Returns:
      What changes, `key: old → new`.

    Raises:
      ValueError: something else changes.
    """
    check_keys(allow_changes)
    found = differences(before, now)
    old, new = found.get("train.steps", (0, 0))
    allowed = {*allow_changes, *(("train.steps",) if old <= new else ())}
    what = f"those of the run in this workdir, of which {done} steps are done"
    return _checked(found, allowed, FIXED, what)


def check_scoring(
    before: Facts, now: Facts, allow_changes: Sequence[str] = ()
) -> list[str]:
    """Compares what scores depend on, for `--mode eval`; as `check_training`.

    Labels of a scored domain may be encoded otherwise, so the encoding is not compared.
    """
    check_keys(allow_changes)
    found = _of_scores(differences(before, now))
    what = "those that the checkpoint was trained with"
    return _checked(found, set(allow_changes), ("classes",), what)


def check_kept(
    before: Facts, settings: Mapping[str, Any], names: Sequence[str], workdir: Path
) -> None:
    """Compares a checkpoint with the config.json and classes.json beside it.

    Raises:
      ValueError: they are of another run, or were changed.
    """
    now = json.loads(json.dumps(_settings(settings) | {"classes": list(names)}))
    if found := _of_scores(differences(before, now)):
        raise ValueError(
            f"got {workdir} whose config.json and classes.json are not those that its "
            f"checkpoint was trained with ({_listed(found)}), expected the run's own: "
            "restore them"
        )


def _of_scores(found: Changes) -> Changes:
    return {
        key: pair
        for key, pair in found.items()
        if key in ("classes", "weights", *SCORED) or key.partition(".")[0] in SCORED
    }


def _checked(
    found: Changes, allowed: set[str], fixed: Sequence[str], what: str
) -> list[str]:
    if never := {key: found[key] for key in fixed if key in found}:
        raise ValueError(
            f"got other classes than {what} ({_listed(never)}), expected the same: "
            "give the run's class file, or another --workdir for a new run"
        )
    if refused := {key: pair for key, pair in found.items() if key not in allowed}:
        meant = [f"{key} is {DIGESTS[key]}" for key in refused if key in DIGESTS]
        raise ValueError(
            f"got other settings than {what} ({_listed(refused)}), expected the same: "
            f"set them back, add --allow-changes {','.join(refused)}, or give another "
            f"--workdir for a new run{''.join(f'; {each}' for each in meant)}"
        )
    return [_shown(key, *pair) for key, pair in found.items()]


def _listed(found: Changes) -> str:
    return "; ".join(_shown(key, *pair) for key, pair in found.items())


def _shown(key: str, old: Any, new: Any) -> str:
    return f"{key}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    """A value for a message; of digests the first twelve digits."""
    several = isinstance(value, list) and value
    text = ", ".join(map(str, value)) if several else str(value)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= 100 else f"{text[:97]}…"
