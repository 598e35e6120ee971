"""Every backbone by name. A new family: one line in each of the two literals."""

from collections.abc import Callable
from typing import NamedTuple

from crossearth_jax.models import dinov2, dinov3, rvsa
from crossearth_jax.models.backbone import Backbone, BackboneConfig


class Family(NamedTuple):
    """What belongs to a type of configuration.

    Attributes:
      name: also the kind that `weights_convert` takes for its weights.
      module: makes a `backbone.Backbone`, as module(config, rngs=…, arithmetic=…).
    """

    name: str
    module: Callable[..., Backbone]


FAMILIES: dict[type, Family] = {
    dinov2.ViTConfig: Family("dinov2", dinov2.DinoV2),
    dinov3.DinoV3Config: Family("dinov3", dinov3.DinoV3),
    rvsa.RvsaConfig: Family("mtp", rvsa.RvsaViT),
}

# What `backbone.variant` takes.
VARIANTS: dict[str, BackboneConfig] = {
    **dinov2.VARIANTS,
    **dinov3.VARIANTS,
    **rvsa.VARIANTS,
}


def published(variant: str) -> BackboneConfig:
    """The sizes of a variant.

    Raises:
      ValueError: no variant has that name.
    """
    if variant not in VARIANTS:
        raise ValueError(
            f'got backbone.variant="{variant}", expected one of {", ".join(VARIANTS)}'
        )
    return VARIANTS[variant]


def family_of(config: BackboneConfig) -> Family:
    """The family that sizes belong to."""
    return FAMILIES[type(config)]
