"""Measured errors of the bicubic conversions of DINOv2's weights."""

import jax.numpy as jnp
import numpy as np
from parity_fixtures import recorded, relative

from crossearth_jax.models.dinov2 import resize_positions
from weights_convert.dinov2 import resize_grid, resize_kernel

PATCH = 16


def conversion_errors():
    """Patch kernel and position grid as weights_convert resizes them."""
    found, errors = recorded("interp.npz"), {}
    positions = found["pos_embed_in"][0]
    for key in found:
        if key.startswith("pos_embed_") and key != "pos_embed_in":
            size = tuple(int(n) for n in key.removeprefix("pos_embed_").split("x"))
            errors[key] = relative(resize_grid(positions, size), found[key][0])
    kernel = found["patch_kernel_in"].transpose(2, 3, 1, 0)
    for key in found:
        if key.startswith("patch_kernel_") and key != "patch_kernel_in":
            size = int(key.removeprefix("patch_kernel_"))
            expected = found[key].transpose(2, 3, 1, 0)
            errors[key] = relative(resize_kernel(kernel, size), expected)
    return errors


def runtime_errors():
    """Position grids as the model resizes them for images of other sizes."""
    found, errors = recorded("interp.npz"), {}
    stored = {k: v[0] for k, v in found.items() if k.startswith("runtime_pos_in_")}
    for key, expected in found.items():
        prefix, _, size = key.rpartition("_")
        if not key.startswith("runtime") or key in stored:
            continue
        # "runtime32_pos" starts from the 32×32 grid, "runtime_pos" from the first one.
        grid = prefix.removeprefix("runtime").removesuffix("_pos")
        first = next(iter(stored))
        positions = stored[f"runtime_pos_in_{grid}x{grid}" if grid else first]
        height, width = (int(n) // PATCH for n in size.split("x"))
        got = resize_positions(jnp.asarray(positions[1:]), height, width)
        got = np.concatenate([positions[:1], got])
        errors[key] = relative(got, expected[0])
    return errors
