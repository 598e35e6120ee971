"""Geospatial Semantic Extractor f_G: image to geospatial queries (method.md section 3).

The paper gives "five convolutions with ReLU"; kernel, stride and width are ours.
"""

import math

from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.precision import Arithmetic


class GeospatialSemanticExtractor(nnx.Module):
    """Five 3×3 convolutions with ReLU that end at the token grid with width C."""

    def __init__(
        self,
        width: int,
        patch_size: int,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
    ) -> None:
        """Creates the convolutions.

        Args:
          width: C; inner widths are 64, 128, 256, 512 scaled by C/1024, at least 16.
          patch_size: p, a power of two up to 32: log2(p) of the strides are 2.
          rngs: initialisation keys.
          arithmetic: of the convolutions.
        """
        halvings = round(math.log2(patch_size))
        if 2**halvings != patch_size or halvings > 5:
            raise ValueError(
                f"got patch size {patch_size}, expected 1, 2, 4, 8, 16 or 32 so that "
                "five convolutions can reach the token grid"
            )
        inner = [max(16, 64 * 2**i * width // 1024) for i in range(4)]
        widths = [3, *inner, width]
        self.convs = nnx.List(
            [
                arithmetic.conv(
                    widths[i],
                    widths[i + 1],
                    3,
                    strides=2 if i < halvings else 1,
                    padding=1,
                    kernel_init=nnx.initializers.he_normal(),
                    rngs=rngs,
                )
                for i in range(5)
            ]
        )

    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B h w C"]:
        """One geospatial query per token of a normalised image."""
        x = image
        for conv in self.convs:
            x = nnx.relu(conv(x))
        return x
