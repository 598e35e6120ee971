"""Maps the style-augmentation release [144] onto p_s, p_t and the Earth statistics.

Every tensor of the release is used exactly once or named here as dropped, and every
tensor of ours is filled exactly once.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from crossearth_jax.earth_style.statistics import EarthStatistics
from crossearth_jax.earth_style.weights import check_shapes, state_shapes
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.files.open import WeightFile, open_weights
from weights_convert.output import Converted, single_precision, write

# Counters of training steps that PyTorch's batch norm keeps; nothing reads them.
DROPPED = re.compile(r".*\.bn\.num_batches_tracked")

_UNIT = {  # a ConvUnit's own tensors
    "conv.weight": "conv.kernel",
    "bn.weight": "scale",
    "bn.bias": "bias",
    "bn.running_mean": "mean",
    "bn.running_var": "var",
}
# The release names branches by their kernels; ours are numbered in its order.
_BRANCHES = {
    "5": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "6a": ("branch3x3", "branch3x3dbl"),
    "6": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
}
_LAYERS = {
    **{i: f"down.{i}" for i in range(3)},
    **{i: f"residual.{i - 3}" for i in range(3, 8)},
    8: "up.0",
    9: "up.1",
    10: "paint",
}
_WIDTHS = {
    "predictor": "Conv2d_1a_3x3.conv.weight",
    "transfer": "layers.0.conv.weight",
}

# What tells the tables of the release apart.
_SIGNS = {**_WIDTHS, "embeddings": "pbn_embedding_mean"}


def style(
    source: str | Path, target: str | Path, *, allow_unused: Sequence[str] = ()
) -> Converted:
    """Converts the style-augmentation release to a file for `style.weights`.

    Where the release's embeddings are among the sources, their statistics are written
    beside it, to `…_statistics.npz`, for `style.statistics`.

    Args:
      source: one file with both networks, or the folder of the release's files.
      target: the .safetensors file to write.
      allow_unused: globs of source tensors that may stay unused.

    Raises:
      ValueError: see `open_weights` and `convert_style`; or a network is missing.
    """
    source, target = Path(source), Path(target)
    paths = sorted(source.glob("*.pth")) if source.is_dir() else [source]
    files = [open_weights(path) for path in paths]
    tables: dict[str, dict[str, np.ndarray]] = {}
    for tensors in (table for file in files for table in _tables(file)):
        name = next((n for n, sign in _SIGNS.items() if sign in tensors), None)
        if name is None or name in tables:
            raise ValueError(
                f"{source}: got the tensors {list(tensors)[:3]} …, expected each table "
                "of the style-augmentation release once"
            )
        tables[name] = {
            key: tensor.read()
            for key, tensor in single_precision(tensors).items()
            if not DROPPED.fullmatch(key)
            and not any(fnmatchcase(key, glob) for glob in allow_unused)
        }
    if missing := _WIDTHS.keys() - tables.keys():
        raise ValueError(f"{source}: got no {' and no '.join(sorted(missing))} network")
    arrays = convert_style(tables["transfer"], tables["predictor"])
    facts = {"format": "style-augmentation release", "statistics": "not in the source"}
    lazy = {key: LazyTensor.of(array) for key, array in arrays.items()}
    if "embeddings" in tables:
        beside = target.with_name(f"{target.stem}_statistics.npz")
        convert_embedding_statistics(tables["embeddings"]).save(beside)
        facts["statistics"] = beside.name
    options = {"allow_unused": [*allow_unused]}
    return write(target, Converted(lazy, facts), "style", files, options)


def _tables(file: WeightFile) -> list[dict[str, LazyTensor]]:
    """The tables of one file; several have their names before their tensors' names."""
    if len(file.wrapper) < 2:
        return [file.tensors]
    return [
        {
            key.removeprefix(f"{name}."): tensor
            for key, tensor in file.tensors.items()
            if key.startswith(f"{name}.")
        }
        for name in file.wrapper
    ]


def convert_style(
    state_dict_ghiasi: Mapping[str, np.ndarray],
    state_dict_predictor: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Converts the two networks to what `load_style_networks` reads.

    Args:
      state_dict_ghiasi: p_t, from `checkpoint_transformer.pth`.
      state_dict_predictor: p_s, from `checkpoint_stylepredictor.pth`.

    Returns:
      float32 arrays under the keys `predictor.…` and `transfer.…`.

    Raises:
      ValueError: if a source tensor is unknown, two of them meet in one target, a
        target stays empty or a shape differs.
    """
    widths = [
        _width(state_dict_predictor, "predictor"),
        _width(state_dict_ghiasi, "transfer"),
    ]
    converted: dict[str, np.ndarray] = {}
    sources = (
        ("predictor", state_dict_predictor, _predictor_name),
        ("transfer", state_dict_ghiasi, _transfer_name),
    )
    for prefix, state_dict, rename in sources:
        for source, tensor in state_dict.items():
            if DROPPED.fullmatch(source):
                continue
            target = f"{prefix}.{rename(source)}"
            if target in converted:
                raise ValueError(
                    f"got two tensors for {target}, the second {source}, expected "
                    "one: the file is not the release's"
                )
            converted[target] = _to_nhwc(np.asarray(tensor, np.float32))
    check_shapes({k: v.shape for k, v in converted.items()}, state_shapes(*widths))
    return converted


def convert_embedding_statistics(
    embeddings: Mapping[str, np.ndarray],
) -> EarthStatistics:
    """The release's own style statistics (paintings), from `checkpoint_embeddings.pth`.

    They are what style augmentation samples from; for CrossEarth compute the Earth's
    own with `crossearth style-statistics`.

    Raises:
      ValueError: if the mean or the covariance is missing.
    """
    wanted = ("pbn_embedding_mean", "pbn_embedding_covariance")
    missing = [name for name in wanted if name not in embeddings]
    if missing:
        raise ValueError(
            f"got {sorted(embeddings)} without {missing}, expected the release's "
            "checkpoint_embeddings.pth: give that file"
        )
    mean, covariance = (np.asarray(embeddings[name]) for name in wanted)
    return EarthStatistics.from_covariance(mean.reshape(-1), covariance)


def _width(state_dict: Mapping[str, np.ndarray], network: str) -> int:
    name = _WIDTHS[network]
    if name not in state_dict:
        raise ValueError(
            f"got no tensor {name} among {len(state_dict)}, expected the {network} of "
            "the style-augmentation release: check which file is which"
        )
    return state_dict[name].shape[0]


def _to_nhwc(tensor: np.ndarray) -> np.ndarray:
    """OIHW to HWIO, [out, in] to [in, out]; vectors stay."""
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T


def _predictor_name(source: str) -> str:
    if match := re.fullmatch(r"fc\.(weight|bias)", source):
        return "fc.kernel" if match[1] == "weight" else "fc.bias"
    if match := re.fullmatch(r"Conv2d_(\w\w)_\dx\d\.(.*)", source):
        return f"conv_{match[1]}.{_known(_UNIT, match[2], source)}"
    if match := re.fullmatch(
        r"Mixed_(\d)(\w)\.(branch[^_.]+|branch_pool)(?:_(\d))?\.(.*)", source
    ):
        stage, letter, branch, number, rest = match.groups()
        branches = _BRANCHES["6a" if stage + letter == "6a" else stage]
        index = {name: i for i, name in enumerate(branches)}
        unit = int(number or 1) - 1
        return (
            f"mixed_{stage}{letter}.branches.{_known(index, branch, source)}.{unit}."
            f"{_known(_UNIT, rest, source)}"
        )
    raise _unknown(source)


def _transfer_name(source: str) -> str:
    match = re.fullmatch(
        r"layers\.(\d+)\.(conv|fc_gamma|fc_beta)([12]?)\.(weight|bias)", source
    )
    if not match:
        raise _unknown(source)
    layer, part, number, leaf = match.groups()
    block = _known(_LAYERS, int(layer), source)
    place = f"conv{number}.conv" if part == "conv" else f"norm{number}.{part[3:]}"
    return f"{block}.{place}.{'kernel' if leaf == 'weight' else 'bias'}"


def _known(table: Mapping, name: str | int, source: str) -> object:
    if name not in table:
        raise _unknown(source)
    return table[name]


def _unknown(source: str) -> ValueError:
    return ValueError(
        f"got the tensor {source}, expected only names of the style-augmentation "
        "release: check which file is which"
    )
