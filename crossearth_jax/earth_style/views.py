"""How a step makes X_S and X_M, and what of them it counts (method.md 6 to 8).

X is a clean image, X_S styled, X_M masked; B images per batch.
"""

import dataclasses
from typing import Literal

from jaxtyping import Array, Bool, Float, PRNGKeyArray

from crossearth_jax.earth_style.inject import Restyle, masked_image, styled_image
from crossearth_jax.earth_style.masks import altered_mask


@dataclasses.dataclass(frozen=True)
class StyleInjection:
    """How X_S is made (method.md sections 6 and 8).

    Attributes:
      probability: of a styled step.
      per_image: draw for each image instead of once for the batch.
      ratio: τ, share of altered area.
      block: B, block side in pixels.
      polarity: which part takes the style.
    """

    probability: float = 0.1
    per_image: bool = False
    ratio: float = 0.7
    block: int = 64
    polarity: Literal["altered", "equation5"] = "altered"

    def image(
        self, key: PRNGKeyArray, clean: Float[Array, "B H W 3"], restyle: Restyle
    ) -> Float[Array, "B H W 3"]:
        """X_S of normalised X, see `styled_image`."""
        options = {"ratio": self.ratio, "block": self.block, "polarity": self.polarity}
        return styled_image(key, clean, restyle, **options)


@dataclasses.dataclass(frozen=True)
class MaskedModelling:
    """How X_M is made and reconstructed (method.md sections 6 and 7).

    Attributes:
      ratio: τ, share of altered area.
      block: B, block side in pixels.
      prompt: how the visual prompt enters.
      loss: "l1" or "mse".
      target: "clean" reconstructs X, "self" the input X_M or X_S.
      pixels: "hidden" counts the hidden blocks of X_M alone. X_S hides nothing: all of
        its pixels count.
    """

    ratio: float = 0.7
    block: int = 64
    prompt: Literal["replace", "product"] = "replace"
    loss: Literal["l1", "mse"] = "mse"
    target: Literal["clean", "self"] = "clean"
    pixels: Literal["all", "hidden"] = "all"

    def __post_init__(self) -> None:
        """Checks what the loss is a mean over."""
        if self.pixels not in ("all", "hidden"):
            raise ValueError(
                f'got mim.pixels="{self.pixels}", expected "all" or "hidden"'
            )

    def counted(
        self, key: PRNGKeyArray, clean: Float[Array, "B H W 3"]
    ) -> Bool[Array, "B H W"] | None:
        """Pixels of X_M that L_MIM counts, None for all; `key` as of `image`."""
        if self.pixels == "all":
            return None
        batch, height, width, _ = clean.shape
        return altered_mask(key, batch, height, width, self.ratio, self.block)

    def image(
        self,
        key: PRNGKeyArray,
        clean: Float[Array, "B H W 3"],
        prompt: Float[Array, "H W 3"],
    ) -> Float[Array, "B H W 3"]:
        """X_M of normalised X, see `masked_image`."""
        options = {"ratio": self.ratio, "block": self.block, "prompt_mode": self.prompt}
        return masked_image(key, clean, prompt, **options)
