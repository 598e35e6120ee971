"""Injector f_I: geospatial queries refine a backbone feature (method.md section 3)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.attention import MultiHeadAttention
from crossearth_jax.models.layers import layer_norm
from crossearth_jax.models.precision import Arithmetic


class Injector(nnx.Module):
    """Cross-attention: queries from the GSE, keys and values from the feature."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        gamma_init: float,
        residual: bool,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        """Creates norms, attention and, with `residual`, the gain γ per channel.

        Args:
          width: C.
          heads: attention heads.
          gamma_init: initial γ; 0 starts training at the Rein baseline.
          residual: False lets the attention output replace the feature.
          rngs: initialisation keys.
          arithmetic: of the attention.
        """
        norm = {"dtype": arithmetic.dtype, "rngs": rngs}
        self.query_norm = layer_norm(width, **norm)
        self.feature_norm = layer_norm(width, **norm)
        self.attention = MultiHeadAttention(
            width, heads, arithmetic=arithmetic, rngs=rngs
        )
        self.gamma = nnx.Param(jnp.full((width,), gamma_init)) if residual else None

    def __call__(
        self, feature: Float[Array, "B h w C"], queries: Float[Array, "B h w C"]
    ) -> Float[Array, "B h w C"]:
        """F' = F + γ·CrossAttn(q = LN(G), k = v = LN(F))."""
        batch, *_, width = feature.shape
        q = self.query_norm(queries).reshape(batch, -1, width)  # [B, N, C]
        kv = self.feature_norm(feature).reshape(batch, -1, width)
        attended = self.attention(q, kv, kv).reshape(feature.shape)
        if self.gamma is None:
            return attended
        return feature + self.gamma.astype(feature.dtype) * attended
