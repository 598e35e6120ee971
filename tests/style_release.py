"""The style-augmentation release in small, with random numbers."""

import re

import numpy as np
from released import lazy, random_arrays

from crossearth_jax.earth_style.weights import state_shapes
from weights_convert.files.torch_write import write_torch

UNIT = {"conv.kernel": "conv.weight", "scale": "bn.weight", "bias": "bn.bias"}
UNIT |= {"mean": "bn.running_mean", "var": "bn.running_var"}
BRANCHES = {
    "5": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "6a": ("branch3x3", "branch3x3dbl"),
    "6": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
}
KERNELS = {"1a": "3x3", "2a": "3x3", "2b": "3x3", "3b": "1x1", "4a": "3x3"}


def their_name(key, units):
    """The release's name of one of our tensors; `units` counts units of a branch."""
    network, _, rest = key.partition(".")
    if network == "transfer":
        block, rest = re.fullmatch(r"(\w+(?:\.\d)?)\.((?:conv|norm).*)", rest).groups()
        kind, _, number = block.partition(".")
        first = {"down": 0, "residual": 3, "up": 8, "paint": 10}[kind]
        rest = re.sub(r"conv(\d?)\.conv\.", r"conv\1.", rest)
        rest = re.sub(r"norm(\d?)\.(gamma|beta)", r"fc_\2\1", rest)
        rest = rest.replace("kernel", "weight")
        return f"layers.{first + int(number or 0)}.{rest}"
    if rest.startswith("fc."):
        return rest.replace("kernel", "weight")
    if match := re.fullmatch(r"conv_(\w\w)\.(.*)", rest):
        return f"Conv2d_{match[1]}_{KERNELS[match[1]]}.{UNIT[match[2]]}"
    stage, branch, unit, leaf = re.fullmatch(
        r"mixed_(\w\w)\.branches\.(\d)\.(\d)\.(.*)", rest
    ).groups()
    name = BRANCHES.get(stage, BRANCHES.get(stage[0]))[int(branch)]
    several = units[f"mixed_{stage}.branches.{branch}"] > 1
    number = f"_{int(unit) + 1}" if several else ""
    return f"Mixed_{stage}.{name}{number}.{UNIT[leaf]}"


def write_release(folder):
    """The release's three files in a new folder, and the networks under our names."""
    ours = random_arrays(state_shapes(predictor_width=2, transfer_width=4))
    units = {}
    for key in ours:
        if match := re.match(r"predictor\.(mixed_\w\w\.branches\.\d)\.(\d)", key):
            units[match[1]] = max(units.get(match[1], 0), int(match[2]) + 1)
    tables = {"predictor": {}, "transfer": {}}
    for key, value in ours.items():
        axes = (3, 2, 0, 1) if value.ndim == 4 else tuple(range(value.ndim))[::-1]
        network = key.partition(".")[0]
        tables[network][their_name(key, units)] = value.transpose(axes)
    folder.mkdir()
    spread = np.eye(100, dtype=np.float32)
    embeddings = {"pbn_embedding_mean": spread[0], "pbn_embedding_covariance": spread}
    for name, content in {
        "transformer": {"state_dict_ghiasi": lazy(tables["transfer"])},
        "stylepredictor": {"state_dict_stylepredictor": lazy(tables["predictor"])},
        "embeddings": lazy(embeddings),
    }.items():
        write_torch(folder / f"checkpoint_{name}.pth", content)
    return folder, ours
