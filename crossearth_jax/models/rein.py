"""Rein adapters, low-rank form, and the queries linked to them (method.md section 2).

L layers, m tokens per layer, r rank, C backbone width, D decoder width.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from crossearth_jax.models.layers import pytorch_linear
from crossearth_jax.models.portable import for_cpu
from crossearth_jax.models.precision import Arithmetic

FLOAT32 = Arithmetic.FLOAT32


class Rein(nnx.Module):
    """Learnable tokens T_i that refine the patch tokens after every block."""

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        query_width: int,
        num_tokens: int,
        rank: int,
        patch_size: int,
        scale: float,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        """Creates tokens and the shared linear layers.

        Args:
          depth: L.
          width: C.
          query_width: D of the linked queries.
          num_tokens: m.
          rank: r of T_i = A_i·B_i; 0 stores full-rank tokens (L, m, C).
          patch_size: p, enters the initial range of the tokens.
          scale: initial value of the scalar s.
          rngs: initialisation keys.
          arithmetic: of the refinement; the queries are float32's.
        """
        self.arithmetic = arithmetic
        channels = (rank * width) ** 0.5 if rank else width
        bound = (6 / (3 * patch_size**2 + channels)) ** 0.5

        def tokens(*shape: int) -> nnx.Param:
            return nnx.Param(
                jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound)
            )

        if rank:
            self.tokens_a = tokens(depth, num_tokens, rank)
            self.tokens_b = tokens(depth, rank, width)
        else:
            self.tokens = tokens(depth, num_tokens, width)
        self.rank = rank
        self.scale = nnx.Param(jnp.asarray(scale, jnp.float32))

        self.mlp_token2feat, self.mlp_delta_f = (
            pytorch_linear(arithmetic, width, width, rngs=rngs) for _ in range(2)
        )
        # Float32 always: the decoder's masks have thresholds, and queries lead there.
        self.transform = pytorch_linear(FLOAT32, width, query_width, rngs=rngs)
        self.merge = pytorch_linear(FLOAT32, 3 * query_width, query_width, rngs=rngs)

    def all_tokens(self) -> Float[Array, "L m C"]:
        """T of every layer."""
        if self.rank:
            return FLOAT32.matmul(self.tokens_a[...], self.tokens_b[...])
        return self.tokens[...]

    def __call__(
        self,
        layer: int | Integer[Array, ""],
        features: Float[Array, "B N C"],
        is_patch: Bool[np.ndarray, "N 1"] | None = None,
    ) -> Float[Array, "B N C"]:
        """Refines the patch tokens F after one block: F + s·Δ.

        S = softmax(F·Tᵀ/√C) over all m tokens; the first token only absorbs
        attention, its value is dropped.

        Args:
          layer: the block.
          features: F, and tokens that are not patches.
          is_patch: the others stay as they are; None: all are patches.
        """
        if self.rank:
            tokens = FLOAT32.matmul(self.tokens_a[layer], self.tokens_b[layer])
        else:
            tokens = self.tokens[layer]
        dtype, matmul = self.arithmetic.dtype, self.arithmetic.matmul
        tokens, narrow = (x.astype(dtype) for x in (tokens, features))
        similarity = matmul(narrow, tokens.T) * features.shape[-1] ** -0.5  # [B, N, m]
        attention = jax.nn.softmax(similarity.astype(jnp.float32)).astype(dtype)
        values = self.mlp_token2feat(tokens[1:])
        seen = matmul(attention[..., 1:], values) + narrow  # [B, N, C]
        kernel, bias = (x.astype(dtype) for x in self._scaled_delta())
        if is_patch is not None:
            seen, bias = (jnp.where(is_patch, x, 0) for x in (seen, bias))
        return features + (matmul(seen, kernel) + bias)

    def refiner(self) -> Callable[..., Float[Array, "B N C"]]:
        """`__call__` for all layers of one network.

        An accelerator computes the tokens and values of all layers in one product
        each, and what it drops it multiplies by 0: the fewer and larger its kernels
        are, the better.
        """
        if for_cpu():
            return self
        dtype, matmul = self.arithmetic.dtype, self.arithmetic.matmul
        tokens = self.all_tokens().astype(dtype)  # [L, m, C]
        dropped = jnp.arange(tokens.shape[1])[:, None] == 0
        values = jnp.where(dropped, 0, self.mlp_token2feat(tokens))
        scaled = self._scaled_delta()  # float32, in which its gradients add up

        def refine(
            layer: int | Array, features: Array, is_patch: np.ndarray | None = None
        ) -> Array:
            narrow = features.astype(dtype)
            similarity = matmul(narrow, tokens[layer].T) * features.shape[-1] ** -0.5
            attention = jax.nn.softmax(similarity.astype(jnp.float32)).astype(dtype)
            seen = matmul(attention, values[layer]) + narrow
            kernel, bias = (x.astype(dtype) for x in scaled)
            delta = matmul(seen, kernel) + bias
            if is_patch is not None:
                delta = jnp.where(is_patch, delta, 0)
            return features + delta

        return refine

    def _scaled_delta(self) -> tuple[Array, Array]:
        """S enters the weights, not Δ: C² products instead of N·C, Δ is not kept."""
        assert self.mlp_delta_f.bias is not None  # as made above
        kernel, bias = self.mlp_delta_f.kernel, self.mlp_delta_f.bias
        return self.scale[...] * kernel[...], self.scale[...] * bias[...]

    def queries(self) -> Float[Array, "m D"]:
        """Object queries, the same for every image.

        Per channel the maximum, mean and last value over the layers are next to
        each other (index = channel·3 + {max, mean, last}).
        """
        tokens = self.transform(self.all_tokens())  # [L, m, D]
        parts = jnp.stack([tokens.max(0), tokens.mean(0), tokens[-1]], axis=-1)
        return self.merge(parts.reshape(tokens.shape[1], -1))
