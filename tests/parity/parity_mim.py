"""Measured errors of the authors' deleted MIM head, our decoder "aspp_shared"."""

from functools import cache, partial

import jax
import numpy as np
from flax import nnx
from parity_fixtures import QUICK, nhwc, recorded, relative

from crossearth_jax.losses.mim import delta_loss, reconstruction_loss
from crossearth_jax.models.mim_decoder import SharedAsppDecoder
from crossearth_jax.models.parameters import dotted, undotted
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import resize_bilinear
from weights_convert.files.lazy_tensor import LazyTensor
from weights_convert.mapping import apply_rules
from weights_convert.torch_layers import conv

RULES = [
    *conv("aspp_head.conv_1x1", "reduce", bias=True),
    *conv("aspp_head.Convs.{i}", "convs.{i}", bias=True),
    *conv("aspp_head.conv_1x1_2", "project", bias=True),
    *conv("feature_refine_256.0", "refine", bias=True),
    *conv("final_conv", "final", bias=True),
]


def part(prefix):
    """Recorded parameters or gradients under our names, flat."""
    found = recorded("mim_history.npz")
    lazy = {
        key.removeprefix(prefix): LazyTensor.of(value)
        for key, value in found.items()
        if key.startswith(prefix)
    }
    return apply_rules(lazy, RULES, None)


@cache
def measured():
    """Relative errors of reconstruction, losses and gradients."""
    found, arrays = recorded("mim_history.npz"), part("param/")
    _, _, width, hidden = arrays["reduce.kernel"].shape
    strided = found["prediction_stride8"]
    side = 8 * strided.shape[-1]
    decoder = nnx.eval_shape(
        lambda: SharedAsppDecoder(
            width,
            hidden,
            output_size=side,
            arithmetic=Arithmetic.FLOAT32,
            rngs=nnx.Rngs(0),
        )
    )
    graph, state = nnx.split(decoder)
    params = undotted(arrays, nnx.to_pure_dict(state))
    masked, styled = (
        [nhwc(found[f"{name}{i}"]) for i in range(4)] for name in ("feat", "feat2_")
    )
    target = resize_bilinear(nhwc(found["target"]), (side, side))

    @partial(jax.jit, compiler_options=QUICK)
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(params, masked):
        model = nnx.merge(graph, params)
        rebuilt, restyled = model(masked), model(styled)
        alone = reconstruction_loss(rebuilt, target, "l1").mean()
        total = alone + reconstruction_loss(restyled, target, "l1").mean()
        return total + delta_loss(restyled, rebuilt).mean(), (rebuilt, alone)

    (total, (rebuilt, alone)), (weights, features) = run(params, masked)
    image = np.moveaxis(np.asarray(rebuilt), -1, 1)
    rows = found["prediction_first_8_rows"]
    errors = {
        "reconstruction, stride 8": relative(image[..., ::8, ::8], strided),
        "reconstruction, first rows": relative(image[:, :, :8], rows),
        "loss, masked only": relative(alone, found["loss_masked_only"]),
        "loss, with style": relative(total, found["loss_with_style"]),
    }
    expected = part("grad/")
    gradients = {
        f"gradient of {k}": (v, expected[k]) for k, v in dotted(weights).items()
    }
    gradients |= {
        f"gradient of tap {i}": (x, nhwc(found[f"grad_feat{i}"]))
        for i, x in enumerate(features)
    }
    return errors | {name: relative(*pair) for name, pair in gradients.items()}
