"""Time of deformable attention's sampling: ours, all points at once, and PyTorch's.

`python -m benchmarks.deformable`; the crop is an option. The sizes are those of the
pixel decoder: three levels, eight heads of 32 channels, four points a level, a query
for every token. Measured as in `benchmarks.attention`.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.attention import (
    Function,
    comparable_torch,
    in_jax,
    measure,
    print_times,
)
from crossearth_jax.models.deform_attn import sample_levels
from crossearth_jax.models.pixel_decoder import reference_points
from crossearth_jax.pixels.resample import bilinear_corners

HEADS, WIDTH, POINTS = 8, 32, 4
OURS, AT_ONCE = "sample_levels", "all points at once"
Sizes = list[tuple[int, int]]


def main(argv: Sequence[str]) -> None:
    """Measures all and prints medians, lowest to highest, and ratios to ours."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deformable")
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args(argv)
    sizes = [(options.crop // stride,) * 2 for stride in (32, 16, 8)]
    arrays = inputs(sizes)
    variants = {
        OURS: lambda value, *rest: sample_levels(value, sizes, *rest),
        AT_ONCE: lambda value, *rest: all_points(value, sizes, *rest),
    }
    functions = {**in_jax(variants, arrays), **in_torch(arrays, sizes)}
    times = measure(functions, options.repeats)
    print(
        f"{jax.default_backend()}, jax {jax.__version__}, {arrays[0].shape[1]} queries"
    )
    print_times(times, OURS)
    for name, function in variants.items():
        print(f"{name}: {_temporaries(function, arrays):.0f} MB of temporaries")


def inputs(sizes: Sizes) -> list[np.ndarray]:
    """Values, points around every token's place, and their weights."""
    rng, tokens = np.random.default_rng(0), sum(h * w for h, w in sizes)
    places = np.asarray(reference_points(sizes))[None, :, None, None, None]
    shape = 1, tokens, HEADS, len(sizes), POINTS
    drawn = (
        rng.normal(size=(1, tokens, HEADS, WIDTH)),
        places + 0.05 * rng.normal(size=(*shape, 2)),
        rng.random(shape) / len(sizes) / POINTS,
    )
    return [array.astype(np.float32) for array in drawn]


def all_points(
    value: jax.Array, sizes: Sizes, locations: jax.Array, weights: jax.Array
) -> jax.Array:
    """The corners of all points gathered first, then one product."""
    value, start, indices, shares = value.transpose(0, 2, 1, 3), 0, [], []
    for level, (height, width) in enumerate(sizes):
        index, share = bilinear_corners(locations[:, :, :, level], height, width)
        indices.append(index + start)
        shares.append(share * weights[:, :, :, level, :, None])
        start += height * width
    index, share = (
        jnp.concatenate(parts, 3).transpose(0, 2, 1, 3, 4)
        for parts in (indices, shares)
    )  # [B, h, Q, l·P, 4]
    share = share.reshape(*share.shape[:3], -1)
    flat = index.reshape(*value.shape[:2], -1, 1)
    picked = jnp.take_along_axis(value, flat, axis=2)
    picked = picked.reshape(*share.shape, value.shape[-1])
    return jnp.einsum("bhqk,bhqkd->bqhd", share, picked)


def in_torch(
    arrays: Sequence[np.ndarray], sizes: Sizes
) -> dict[tuple[str, str], Function]:
    """`grid_sample` level by level, on the CPU; nothing where PyTorch is missing."""
    if (torch := comparable_torch()) is None:
        return {}
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    sample = torch.nn.functional.grid_sample

    def attend() -> Any:
        value, locations, weights = tensors
        levels = value.split([h * w for h, w in sizes], 1)
        found = []
        for level, (tokens, size) in enumerate(zip(levels, sizes, strict=True)):
            maps = tokens.permute(0, 2, 3, 1).reshape(HEADS, WIDTH, *size)
            grid = 2 * locations[0, :, :, level].transpose(0, 1) - 1  # [h, Q, P, 2]
            found.append(sample(maps, grid, align_corners=False))  # [h, d, Q, P]
        share = weights[0].permute(1, 0, 2, 3).flatten(2)[:, None]  # [h, 1, Q, l·P]
        return (torch.cat(found, -1) * share).sum(-1)

    def forward() -> object:
        with torch.no_grad():
            return attend()

    def gradient() -> object:
        return torch.autograd.grad((attend() ** 2).sum(), tensors)

    name = f"PyTorch {torch.__version__}"
    return {(name, "forward"): forward, (name, "gradient"): gradient}


def _temporaries(function: object, arrays: Sequence[np.ndarray]) -> float:
    """Megabytes of the compiled gradient."""
    gradient = jax.grad(lambda *a: (function(*a) ** 2).sum(), (0, 1, 2))
    memory = jax.jit(gradient).lower(*arrays).compile().memory_analysis()
    return memory.temp_size_in_bytes / 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
