"""GSE, Injectors, MIM decoder and prompt: names of our own in PyTorch's layout.

The authors released no weights of these parts, so there are no names to follow. Under
`crossearth_jax.` they lie beside the official code's tensors, which it loads without
them; `crossearth convert crossearth` reads them back bit for bit.

    crossearth_jax.gse.convs.I.{weight,bias}            convolutions, OIHW
    crossearth_jax.injectors.I.attention.{query,key,value,out}.{weight,bias}
    crossearth_jax.injectors.I.{feature_norm,query_norm}.{weight,bias}
    crossearth_jax.injectors.I.gamma
    crossearth_jax.mim_decoder.{convs.I,reduce,project,refine,final}.{weight,bias}
    crossearth_jax.mim_decoder.linear.{weight,bias}     [out, in]
    crossearth_jax.prompt                               [H, W, 3]
"""

from collections.abc import Mapping
from typing import Any

from crossearth_jax.config import flattened
from weights_convert.architecture import shape_of
from weights_convert.mapping import Rule, Shape, rule
from weights_convert.torch_layers import conv, linear, norm

BEFORE = "crossearth_jax."
PARTS = ("gse", "injectors", "mim_decoder", "prompt")
# Keys of the configuration that build the network; None values are the variant's own.
_KEYS = (
    *("backbone.variant", "backbone.patch_size", "backbone.width", "backbone.depth"),
    *("backbone.heads", "backbone.registers", "backbone.taps"),
    *("data.crop", "eval.stride", "rein.num_tokens", "rein.rank", "gse.enabled"),
    *("injector.residual", "injector.order"),
    *("mim.enabled", "mim.decoder", "mim.width"),
)


def own_rules() -> list[Rule]:
    """The table of all four parts."""
    layer, mim = "injectors.{i}", "mim_decoder"
    attention = f"{layer}.attention.{{part:query|key|value|out}}"
    norms = f"{layer}.{{name:feature_norm|query_norm}}"
    single = "{name:reduce|project|refine|final}"
    return [
        *conv(f"{BEFORE}gse.convs.{{i}}", "gse.convs.{i}", bias=True),
        *linear(f"{BEFORE}{attention}", attention),
        *norm(f"{BEFORE}{norms}", norms),
        rule(f"{BEFORE}{layer}.gamma", f"{layer}.gamma"),
        *conv(f"{BEFORE}{mim}.convs.{{i}}", f"{mim}.convs.{{i}}", bias=True),
        *conv(f"{BEFORE}{mim}.{single}", f"{mim}.{single}", bias=True),
        *linear(f"{BEFORE}{mim}.linear", f"{mim}.linear"),
        rule(f"{BEFORE}prompt", "prompt"),
    ]


def sizes_of_parts(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Which of the parts there are, and their sizes, as arguments of `ModelConfig`.

    Raises:
      ValueError: a tensor that tells a size is missing or has other axes.
    """
    there = {name.partition(".")[0] for name in shapes}
    found: dict[str, Any] = {"gse": "gse" in there, "mim": "mim_decoder" in there}
    if found["gse"]:
        found["injector_residual"] = "injectors.0.gamma" in shapes
    if found["mim"]:
        shared = "mim_decoder.final.kernel" in shapes
        linear_alone = "mim_decoder.convs.0.kernel" not in shapes
        kind = "aspp_shared" if shared else "linear" if linear_alone else "aspp"
        found |= {"mim_decoder": kind, "crop": shape_of(shapes, "prompt", 3)[0]}
        if not linear_alone:
            found["mim_width"] = shape_of(shapes, "mim_decoder.convs.0.kernel", 4)[-1]
    return found


def settings_of_run(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"network": keys that build a run's network}, as `runnable.settings_of` keeps.

    Args:
      settings: the run's whole configuration, nested.
    """
    if settings["data"]["bands"] or settings["data"]["scale"]:
        why = "its run was trained on other bands or scales: predict with its workdir"
        return {"network": None, "why": why}
    return {
        "network": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in flattened(settings)
            if value is not None and (key in _KEYS or key.startswith("decoder."))
        }
    }
