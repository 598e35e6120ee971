"""`crossearth convert KIND SRC DST [options]`: weights in and out.

`python -m weights_convert` is the same.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from crossearth_jax.commands.errors import guarded
from crossearth_jax.commands.parser import add_traceback, make_parser
from crossearth_jax.system.escape import terminal
from crossearth_jax.system.output import until_unread
from weights_convert.crossearth import ANCHORS as WHOLE
from weights_convert.crossearth import crossearth, mmseg_rules, rein
from weights_convert.dinov2 import ANCHORS as DINOV2
from weights_convert.dinov2 import detect, dinov2
from weights_convert.dinov3 import ANCHORS as DINOV3
from weights_convert.dinov3 import PRETRAINING, dinov3, dinov3_rules
from weights_convert.files.open import WeightFile, open_weights
from weights_convert.inspect_file import rows_of, table
from weights_convert.mapping import Rule
from weights_convert.mtp import ANCHORS as RVSA
from weights_convert.mtp import mtp, mtp_rules
from weights_convert.output import Converted
from weights_convert.runnable import HIDDEN
from weights_convert.source import open_source, prefixes, unwrapped
from weights_convert.style import style
from weights_convert.to_torch import mmseg_rules_back, to_torch

_HELP = {
    "dinov2": "DINOv2 of torch-hub, Hugging Face, timm or the authors",
    "dinov3": "DINOv3 ViT-S/B/L of Hugging Face or Meta, also of satellite images",
    "mtp": "MTP's ViT with RVSA, the encoder or a network around it",
    "crossearth": "a released CrossEarth checkpoint (mmseg)",
    "rein": "a released Rein checkpoint on DINOv2 (mmseg)",
    "style": "the style-augmentation release: a file, or its folder",
    "to-torch": "a run's workdir or converted weights, to mmseg's names",
    "inspect": "lists what a file holds and where it would go",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = make_parser(
        "crossearth convert",
        "Converts PyTorch weights to those that train here, and back; PyTorch is not "
        "needed.",
    )
    kinds = whole.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, text in _HELP.items():
        one = kinds.add_parser(kind, help=text, description=text, allow_abbrev=False)
        add_traceback(one, default=argparse.SUPPRESS)  # as it stands before KIND
        one.add_argument("source", metavar="SRC", type=Path, help="file to read")
        if kind == "inspect":
            continue
        one.add_argument("target", metavar="DST", type=Path, help="file to write")
        one.add_argument(
            "--allow-unused",
            metavar="PATTERN",
            action="append",
            default=[],
            help="source tensors that may stay unused, e.g. 'head.*'; repeatable",
        )
        _add_options(one.add_argument, kind)
    return whole


def _add_options(add: Callable[..., object], kind: str) -> None:
    """Those that only some kinds have."""
    if kind in ("dinov2", "dinov3", "mtp", "crossearth", "rein"):
        add(
            "--prefix",
            help="what stands before the names of the wanted network, such as "
            "student.backbone., where SRC has several; default: by rule, and said",
        )
        add(
            "--ema",
            action="store_true",
            help="take the average (EMA) of the weights instead of the weights",
        )
    if kind == "dinov2":
        add(
            "--crop",
            type=int,
            default=512,
            help="pixels of a training crop, which positions are resized to "
            "(default: 512)",
        )
        add("--patch", type=int, default=16, help="pixels of a patch (default: 16)")
    if kind == "dinov3":
        add(
            "--trained-on",
            choices=PRETRAINING,
            help="which pixels the weights expect; default: what the name of SRC, or "
            "the preprocessor_config.json beside it, says",
        )
    if kind in ("crossearth", "rein"):
        _add_options_of_networks(add)
    if kind in ("crossearth", "rein", "to-torch"):
        add(
            "--backbone",
            type=Path,
            help="DINOv2 converted by `dinov2`, or a name such as dinov2-large",
        )


def _add_options_of_networks(add: Callable[..., object]) -> None:
    """What `predict` needs to know of a whole network, which its tensors do not say."""
    add(
        "--swap-classes",
        action="store_true",
        help="exchange classes 0 and 1, for a head whose background is 1",
    )
    add(
        "--classes",
        metavar="FILE",
        help="class file, or a known set such as loveda, kept for `predict`; "
        "default: what a released file's name or the checkpoint itself says",
    )
    add(
        "--crop",
        type=int,
        help="pixels of a window, for `predict`; default: as positions show",
    )
    add(
        "--set",
        dest="sizes",
        metavar="KEY=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="a size that no tensor shows, for networks of no published size: "
        f"{', '.join(HIDDEN)}; repeatable",
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"got {text}, expected KEY=VALUE")
    return key, value


def guess_rules(path: Path) -> list[Rule]:
    """The mapping table that a file's names belong to; none if they are strange."""
    return _rules_of(_network_in(path)[0])


def _network_in(path: Path) -> tuple[WeightFile, dict[str, str]]:
    """The file with the tensors of the network that is found in it, if one is."""
    file = open_weights(path, every_table=True)
    for anchors in (WHOLE, RVSA, DINOV3, DINOV2):
        if prefixes(unwrapped(file.tensors), anchors):
            return open_source(path, anchors)
    return open_weights(path), {}


def _rules_of(file: WeightFile) -> list[Rule]:
    keys = {key: t.shape for key, t in file.tensors.items()}
    if any(key.startswith("decode_head.") for key in keys):
        return mmseg_rules()
    if any(key.startswith(("decoder.", "backbone.blocks.0.norm1.sc")) for key in keys):
        return mmseg_rules_back()
    for rules_of in (mtp_rules, dinov3_rules, lambda shapes: detect(shapes).rules):
        with contextlib.suppress(ValueError):
            return rules_of(keys)
    return []


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for, and reports it."""
    options = vars(arguments).copy()
    kind, source = options.pop("kind"), options.pop("source")
    del options["traceback"]
    if kind == "inspect":
        file, found = _network_in(source)
        print(table(rows_of(file.tensors, _rules_of(file))))
        for fact in found.values():
            print(terminal(fact, 1_000))
        return
    functions = {
        "dinov2": dinov2,
        "dinov3": dinov3,
        "mtp": mtp,
        "crossearth": crossearth,
        "rein": rein,
        "style": style,
        "to-torch": to_torch,
    }
    target = options.pop("target")
    if "sizes" in options:
        options["sizes"] = dict(options["sizes"])
    print(summary(functions[kind](source, target, **options), target))


def summary(converted: Converted, target: Path) -> str:
    """What was found and written."""
    lines = [
        f"{name}: {terminal(fact, 1_000)}" for name, fact in converted.facts.items()
    ]
    size = sum(tensor.nbytes for tensor in converted.tensors.values())
    return "\n".join(
        [*lines, f"wrote {len(converted.tensors)} tensors, {size:,} bytes: {target}"]
    )


def main(argv: Sequence[str]) -> int:
    """Runs a command line; returns the exit status."""
    return guarded(run, parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(until_unread(lambda: main(sys.argv[1:])))
