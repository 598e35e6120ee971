"""Configuration to the network and its optimiser.

Below the entry points the configuration is read here and in `run_settings.py`, nowhere
else.
"""

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree
from ml_collections import ConfigDict

from crossearth_jax.hub.catalogue import WHOLE, is_name, models
from crossearth_jax.hub.weights import find_weights
from crossearth_jax.models import class_head
from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.crossearth import CrossEarth, ModelConfig
from crossearth_jax.models.families import FAMILIES, family_of, published
from crossearth_jax.models.initial_keys import InitialKeys
from crossearth_jax.models.parameters import (
    aligned,
    digest_of_arrays,
    dotted,
    fill,
    partition,
    read_weights,
    start_from,
    trainable_mask,
)
from crossearth_jax.models.precision import Arithmetic, arithmetic_of
from crossearth_jax.optim import adamw, decay_mask, learning_rate
from crossearth_jax.run_settings import check_crop, from_keys
from crossearth_jax.system import sharding
from crossearth_jax.system.compiling import light_optimisation
from crossearth_jax.train_step import TrainState


@dataclasses.dataclass(frozen=True)
class Network:
    """A model taken apart for pure functions.

    Attributes:
      graph: structure; `nnx.merge(graph, params)` restores the module.
      trainable: nested dict of the arrays that train.
      frozen: nested dict of the others, NumPy arrays in the compute type.
      model: the module itself, for its structure only.
      digest: SHA-256 of the frozen weights as loaded, "" if nothing is frozen.
    """

    graph: nnx.GraphDef
    trainable: PyTree
    frozen: PyTree
    model: CrossEarth
    digest: str


@dataclasses.dataclass(frozen=True)
class Initial:
    """What a training starts from, see `run.initial`.

    Attributes:
      arrays: of everything or of some parts, under dotted paths.
      rows: of the class head that are taken; None takes it as it is.
    """

    arrays: Mapping[str, np.ndarray]
    rows: class_head.Rows | None = None


def build_network(
    config: ConfigDict,
    num_classes: int,
    initial: Initial | None = None,
    *,
    restored: bool = False,
) -> Network:
    """The model with its frozen weights, split by `trainable_mask`.

    Args:
      config: all keys.
      num_classes: of its head.
      initial: what it starts from; None reads the file that `train.init` names.
      restored: a checkpoint's values will replace all that trains, so of `train.init`
        only a frozen backbone is needed.

    Raises:
      ValueError: the backbone is frozen but has no weights, or they do not fit.
    """
    backbone, arithmetic = config.backbone, arithmetic_of(config.precision)
    init = (initial or _initial(config, restored)).arrays
    rows = initial.rows if initial else None
    weights = _given_backbone(config, init)
    sizes = model_config(config, num_classes, weights)

    create = partial(new_model, config, sizes)
    model = nnx.eval_shape(create)  # shapes only
    like = nnx.to_pure_dict(nnx.state(model))

    init = {} if restored else init
    parts = {path.partition(".")[0] for path in (*weights, *init)}

    def draw() -> tuple[PyTree, PyTree]:
        params = nnx.to_pure_dict(nnx.state(create()))
        drawn = {part: tree for part, tree in params.items() if part not in parts}
        return drawn, {} if rows is None else params["decoder"]["class_head"]

    # One compiled call: eager initialisation would compile hundreds of small ones. What
    # is given is not drawn: that alone takes half a minute for ViT-L.
    drawn, head = jax.jit(draw, compiler_options=light_optimisation())()
    params = {**like, **drawn}
    if weights:
        params = fill(params, weights, "backbone")
    if init and rows is not None:
        fresh = dotted({"decoder": {"class_head": jax.device_get(head)}})
        init = class_head.with_rows(init, fresh, rows)
    if init:
        params = _started(params, init, config.train.init)
    trainable, frozen = _split(params, backbone.trainable, arithmetic)
    digest = digest_of_arrays(weights) if frozen else ""
    return Network(nnx.graphdef(model), trainable, frozen, model, digest)


def new_model(config: ConfigDict, sizes: ModelConfig) -> CrossEarth:
    """The model of a configuration at its initial values."""
    return CrossEarth(
        sizes,
        rngs=InitialKeys(config.train.seed),
        arithmetic=arithmetic_of(config.precision),
        remat=config.backbone.remat is True,  # "auto" is decided later, or not at all
    )


def recomputing(network: Network, recompute: bool) -> Network:
    """The same network, whose blocks are or are not computed again."""
    if network.model.remat is recompute:
        return network
    model = nnx.merge(*nnx.split(network.model))
    model.remat = recompute
    return dataclasses.replace(network, graph=nnx.graphdef(model), model=model)


def _split(
    params: PyTree, train_backbone: bool, arithmetic: Arithmetic
) -> tuple[PyTree, PyTree]:
    """What trains and what is frozen."""
    mask = trainable_mask(params, train_backbone=train_backbone)
    trainable, frozen = partition(params, mask)
    # In host memory: where they live on devices is decided by `sharding`.
    frozen = jax.tree.map(lambda x: aligned(x, arithmetic.dtype), frozen)
    # With the type named, constants lose their weak type, which a step does not keep:
    # it would be compiled again for the second step, and for the third.
    return jax.tree.map(lambda x: jnp.asarray(x, x.dtype), trainable), frozen


def _given_backbone(config: ConfigDict, init: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of the backbone: of `backbone.weights`, else of `train.init`."""
    if config.backbone.weights:
        return _backbone_weights(config)
    weights = {k: v for k, v in init.items() if k.startswith("backbone.")}
    if not weights and not config.backbone.trainable:
        raise ValueError(
            "got a frozen backbone without weights: set --config.backbone.weights="
            f"{_a_name(config)}, or convert others with `{_convert_command(config)}` "
            "and set --config.backbone.weights=backbone.safetensors, or train it from "
            "scratch with --config.backbone.trainable=True"
        )
    return weights


def _started(params: PyTree, init: Mapping[str, Any], given: str | None) -> PyTree:
    """Parameters with what `train.init` has of them; says what it lacks."""
    params, lacking = start_from(params, init)
    if lacking:
        logging.warning(
            "train.init %s; at their initial values: %s", given, ", ".join(lacking)
        )
    return params


def _initial(config: ConfigDict, restored: bool) -> Initial:
    """What `train.init` names where it is a file, or a name of one."""
    given = config.train.init
    if not given or (restored and config.backbone.weights):
        return Initial({})
    if restored and config.backbone.trainable and not is_name(given):
        if not Path(given).is_file():  # of another run, which may be gone by now
            return Initial({})
    return Initial(read_weights(_place(config, given), "crossearth")[0])


def _a_name(config: ConfigDict) -> str:
    """A name of `crossearth models` that fits the backbone."""
    setting = f"backbone.variant={config.backbone.variant}"
    fitting = [x.name for x in models().values() if setting in x.settings]
    return fitting[0] if fitting else "NAME (`crossearth models` lists them)"


def _convert_command(config: ConfigDict) -> str:
    family = family_of(published(config.backbone.variant)).name
    # DINOv2 has another patch size, so it is converted for a crop.
    crop = f" --crop {config.data.crop}" if family == "dinov2" else ""
    return f"crossearth convert {family} SOURCE backbone.safetensors{crop}"


def _backbone_weights(config: ConfigDict) -> dict[str, np.ndarray]:
    """Converted weights, which must be of the family that the variant belongs to."""
    variant = config.backbone.variant
    path = _place(config, config.backbone.weights)
    wanted = family_of(published(variant)).name
    weights, provenance = read_weights(path, wanted)
    kind = provenance.get("kind")
    if kind in [each.name for each in FAMILIES.values() if each.name != wanted]:
        raise ValueError(
            f"got {path} with the weights of a {kind} backbone, expected those of "
            f"{variant}: set --config.backbone.variant, or convert others with "
            f"`{_convert_command(config)}`"
        )
    if kind in WHOLE:  # a network around the backbone
        weights = {k: v for k, v in weights.items() if k.startswith("backbone.")}
    return weights


def _place(config: ConfigDict, given: str) -> Path:
    """The file of weights given by path or by name."""
    sizes = {"crop": config.data.crop, "patch": config.backbone.patch_size}
    return find_weights(given, **sizes)


def _sizes(config: ConfigDict, weights: Mapping[str, np.ndarray]) -> BackboneConfig:
    """The backbone with the sizes that the configuration changes."""
    backbone, variant = config.backbone, published(config.backbone.variant)
    patch = backbone.patch_size
    check_crop(config.data.crop, patch)
    changes: dict[str, Any] = {
        name: backbone[name]
        for name in ("width", "depth", "heads", "registers", "layer_scale")
        if backbone[name] is not None
    }
    known = {field.name for field in dataclasses.fields(variant)}
    if unknown := changes.keys() - known:
        raise ValueError(
            f"got {', '.join(f'backbone.{name}' for name in sorted(unknown))} with "
            f"backbone.variant={backbone.variant}, which does not have it: leave it "
            "out"
        )
    if backbone.taps:
        changes["taps"] = tuple(backbone.taps)
    if "grid" in known:  # of stored positions; resized at run time where it differs
        rows = len(weights.get("backbone.pos_embed", ()))
        changes["grid"] = math.isqrt(rows) or config.data.crop // patch
    return dataclasses.replace(variant, patch_size=patch, **changes)


def model_config(
    config: ConfigDict,
    num_classes: int,
    weights: Mapping[str, np.ndarray] | None = None,
) -> ModelConfig:
    """Every size of the model; the backbone's `weights` tell its grid."""
    return from_keys(
        ModelConfig,
        config.decoder,
        backbone=_sizes(config, weights or {}),
        num_classes=num_classes,
        crop=config.data.crop,
        num_queries=config.rein.num_tokens,
        rein_rank=config.rein.rank,
        rein_scale=config.rein.scale,
        gse=config.gse.enabled,
        injector_gamma=config.injector.gamma_init,
        injector_residual=config.injector.residual,
        injector_order=config.injector.order,
        mim=config.mim.enabled,
        mim_decoder=config.mim.decoder,
        mim_width=config.mim.width,
    )


def build_schedule(config: ConfigDict) -> optax.Schedule:
    """Learning rate of each step."""
    optim = config.optim
    return learning_rate(
        optim.lr,
        power=optim.power,
        decay_steps=optim.decay_steps,
        warmup_steps=optim.warmup_steps,
        warmup_factor=optim.warmup_factor,
    )


def check_schedule(config: ConfigDict) -> None:
    """Refuses a training of which a part would do nothing.

    Raises:
      ValueError: the rate is 0 for more than the last step, or is no rate.
    """
    optim, steps = config.optim, config.train.steps
    if not 0 < optim.lr < math.inf:
        raise ValueError(f"got optim.lr={optim.lr}, expected a number above 0")
    if not 0 <= optim.warmup_steps < optim.decay_steps - 1:
        raise ValueError(
            f"got optim.warmup_steps={optim.warmup_steps} with optim.decay_steps="
            f"{optim.decay_steps}, expected fewer: the decay begins where it ends"
        )
    if steps > optim.decay_steps:
        raise ValueError(
            f"got train.steps={steps} with optim.decay_steps={optim.decay_steps}, "
            f"expected no more: the learning rate is 0 from step {optim.decay_steps} "
            f"on; set --config.optim.decay_steps={steps} too"
        )


def build_optimiser(
    config: ConfigDict, network: Network, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """AdamW over the trainable parameters."""
    return adamw(
        schedule,
        decay_mask(network.model, network.trainable),
        betas=tuple(config.optim.betas),
        eps=config.optim.eps,
        weight_decay=config.optim.weight_decay,
        clip_norm=config.optim.clip_norm,
    )


def initial_state(
    network: Network, optimiser: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state before the first step, on every device."""
    params = network.trainable
    opt_state = jax.jit(optimiser.init)(params)  # one compiled call, not hundreds
    state = TrainState(params, opt_state, step=jnp.int32(0), bad=jnp.int32(0))
    return sharding.replicate(state, mesh)
