"""Mask2Former decoder f_θ on Rein's linked queries (method.md section 4).

B batch, Q queries, K classes, D width, P predictions (one before the first layer,
one after each).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PyTree

from crossearth_jax.models.attention import MultiHeadAttention
from crossearth_jax.models.in_turn import in_turn
from crossearth_jax.models.initial_values import (
    xavier_normal,
    xavier_normal_stacked,
)
from crossearth_jax.models.layers import (
    layer_norm,
    pytorch_linear,
    sine_position,
)
from crossearth_jax.models.pixel_decoder import PixelDecoder, relu_mlp
from crossearth_jax.models.portable import for_cpu
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.pixels.resample import resize_bilinear, shrink_bilinear, sides

FLOAT32 = Arithmetic.FLOAT32
Predict = Callable[..., tuple[Array, Array]]  # `Mask2Former.predict`


class Segmentation(NamedTuple):
    """What the decoder predicts, before any loss.

    Attributes:
      class_logits: [P, B, Q, K + 1], the last class is "no object".
      mask_logits: [P, B, Q, H/4, W/4].
    """

    class_logits: Float[Array, "P B Q K1"]
    mask_logits: Float[Array, "P B Q H4 W4"]


class DecoderLayer(nnx.Module):
    """Masked cross-attention, self-attention, FFN; each post-norm."""

    def __init__(self, width: int, heads: int, ffn: int, *, rngs: nnx.Rngs) -> None:
        make = {
            "inner_init": xavier_normal_stacked,
            "out_init": xavier_normal,
            "rngs": rngs,
        }
        self.cross_attn = MultiHeadAttention(width, heads, **make)
        self.norm1 = layer_norm(width, rngs=rngs)
        self.self_attn = MultiHeadAttention(width, heads, **make)
        self.norm2 = layer_norm(width, rngs=rngs)
        self.ffn = relu_mlp(width, ffn, rngs=rngs)
        self.norm3 = layer_norm(width, rngs=rngs)

    def __call__(
        self,
        query: Float[Array, "B Q D"],
        query_position: Float[Array, "Q D"],
        memory: Float[Array, "B S D"],
        memory_position: Float[Array, "S D"],
        mask: Bool[Array, "B Q S"],
    ) -> Float[Array, "B Q D"]:
        """Positions are added to queries and keys, never to values."""
        key = memory + memory_position
        attended = self.cross_attn(query + query_position, key, memory, mask[:, None])
        query = self.norm1(query + attended)
        placed = query + query_position
        query = self.norm2(query + self.self_attn(placed, placed, query))
        return self.norm3(query + self.ffn(query))


class MaskMlp(nnx.Module):
    """Three linear layers with ReLU between: query to mask embedding."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(
            [pytorch_linear(FLOAT32, width, width, rngs=rngs) for _ in range(3)]
        )

    def __call__(self, x: Float[Array, "B Q D"]) -> Float[Array, "B Q D"]:
        """Applies the layers."""
        first, second, third = self.layers
        return third(nnx.relu(second(nnx.relu(first(x)))))


class Mask2Former(nnx.Module):
    """Pixel decoder, transformer decoder and prediction heads."""

    def __init__(
        self,
        in_width: int,
        width: int,
        num_classes: int,
        *,
        encoder_layers: int,
        decoder_layers: int,
        heads: int,
        points: int,
        encoder_ffn: int,
        decoder_ffn: int,
        groups: int,
        rngs: nnx.Rngs,
    ) -> None:
        """Creates the decoder.

        Args:
          in_width: C of the stage maps.
          width: D.
          num_classes: K.
          encoder_layers: deformable layers of the pixel decoder.
          decoder_layers: transformer decoder layers.
          heads: attention heads of both.
          points: deformable sampling points.
          encoder_ffn: hidden width in the pixel decoder.
          decoder_ffn: hidden width in the transformer decoder.
          groups: GroupNorm groups.
          rngs: initialisation keys.
        """
        self.pixel_decoder = PixelDecoder(
            in_width,
            width,
            layers=encoder_layers,
            heads=heads,
            points=points,
            ffn=encoder_ffn,
            groups=groups,
            rngs=rngs,
        )
        self.layers = nnx.List(
            [
                DecoderLayer(width, heads, decoder_ffn, rngs=rngs)
                for _ in range(decoder_layers)
            ]
        )
        self.post_norm = layer_norm(width, rngs=rngs)
        self.level_embed = nnx.Param(
            nnx.initializers.normal(1.0)(rngs.params(), (3, width))
        )
        self.query_feature = pytorch_linear(FLOAT32, width, width, rngs=rngs)
        self.class_head = pytorch_linear(FLOAT32, width, num_classes + 1, rngs=rngs)
        self.mask_head = MaskMlp(width, rngs=rngs)

    def predict(
        self, query: Float[Array, "*P B Q D"], mask_features: Float[Array, "B H4 W4 D"]
    ) -> tuple[Float[Array, "*P B Q K1"], Float[Array, "*P B Q H4 W4"]]:
        """Class and mask logits of queries, also of those of all predictions."""
        query = self.post_norm(query)
        classes = self.class_head(query)
        embedded = self.mask_head(query)
        masks = FLOAT32.einsum("...bqd,bhwd->...bqhw", embedded, mask_features)
        return classes, masks

    def __call__(
        self,
        stages: list[Float[Array, "B _ _ C"]],
        queries: Float[Array, "Q D"],
        sizes: list[tuple[int, int]] | None = None,
        *,
        last_only: bool = False,
    ) -> Segmentation:
        """Predicts from stage maps (strides 4, 8, 16, 32) and Rein's queries.

        The queries are the positions; their linear projection is the first content.

        Args:
          stages: maps.
          queries: one set for all images.
          sizes: as the pixel decoder takes them.
          last_only: of the predictions only the last is wanted, P = 1.
        """
        mask_features, memories = self.pixel_decoder(stages, sizes)
        batch, width = mask_features.shape[0], mask_features.shape[-1]
        tokens, positions = [], []
        for memory, level in zip(memories, self.level_embed[...], strict=True):
            flat = memory.reshape(batch, -1, width) + level
            tokens.append(flat)
            positions.append(sine_position(*sides(memory), width))
        content = self.query_feature(queries)
        query = jnp.broadcast_to(content, (batch, *content.shape))
        heads = PredictionByPrediction if for_cpu() else PredictionsTogether
        predicted = heads(self.predict, mask_features, [sides(x) for x in memories])

        def look(
            layers: tuple[DecoderLayer, ...], _: int | Array, query: Array
        ) -> tuple[Array, list[PyTree]]:
            """One layer a level, coarsest first."""
            before = []
            for level, layer in enumerate(layers):
                mask, kept = predicted.seen(query, level)
                query = layer(query, queries, tokens[level], positions[level], mask)
                before.append(kept)
            return query, before

        layers = [*self.layers]
        threes = [tuple(layers[i : i + 3]) for i in range(0, len(layers), 3)]
        query, before = in_turn(threes, look, query)
        before = [kept for of_three in before for kept in of_three]
        return predicted.all(before, query, last_only)


class PredictionByPrediction:
    """Every prediction when its queries are there, as the paper has it: for a CPU."""

    def __init__(
        self,
        predict: Predict,
        mask_features: Float[Array, "B H4 W4 D"],
        sizes: list[tuple[int, int]],
    ) -> None:
        """Takes the heads, and the sizes of the levels."""
        self._predict = partial(predict, mask_features=mask_features)
        self._sizes = sizes

    def seen(
        self, query: Float[Array, "B Q D"], level: int
    ) -> tuple[Bool[Array, "B Q S"], tuple[Array, Array]]:
        """Where the next layer may look on a level; and the prediction of these."""
        made = self._predict(query)
        return attention_mask(made[1], self._sizes[level]), made

    def all(
        self,
        before: list[tuple[Array, Array]],
        query: Float[Array, "B Q D"],
        last_only: bool,
    ) -> Segmentation:
        """Those made before, and that of the last queries."""
        made = [*before, self._predict(query)]
        classes, masks = zip(*made[-1 if last_only else 0 :], strict=True)
        return Segmentation(jnp.stack(classes), jnp.stack(masks))


class PredictionsTogether:
    """All predictions in one product each after the last layer: for an accelerator.

    Until then a layer needs to know the foreground of a level alone, and that of
    enlarged or reduced features is the same as that of such logits.
    """

    def __init__(
        self,
        predict: Predict,
        mask_features: Float[Array, "B H4 W4 D"],
        sizes: list[tuple[int, int]],
    ) -> None:
        """Takes the heads, and the sizes of the levels."""
        self._predict, self._features = predict, mask_features
        fixed = jax.lax.stop_gradient(mask_features)
        self._levels = [shrink_bilinear(fixed, size) for size in sizes]

    def seen(
        self, query: Float[Array, "B Q D"], level: int
    ) -> tuple[Bool[Array, "B Q S"], Float[Array, "B Q D"]]:
        """Where the next layer may look on a level; and these queries."""
        _, logits = self._predict(jax.lax.stop_gradient(query), self._levels[level])
        logits = jax.lax.stop_gradient(logits).reshape(*query.shape[:2], -1)
        return foreground(logits), query

    def all(
        self,
        before: list[Float[Array, "B Q D"]],
        query: Float[Array, "B Q D"],
        last_only: bool,
    ) -> Segmentation:
        """The predictions of the queries before, and of the last ones."""
        every = [query] if last_only else [*before, query]
        return Segmentation(*self._predict(jnp.stack(every), self._features))


def attention_mask(
    mask_logits: Float[Array, "B Q H4 W4"], size: tuple[int, int]
) -> Bool[Array, "B Q S"]:
    """Where each query may look on a level: foreground of its last mask.

    Carries no gradient.
    """
    batch, queries = mask_logits.shape[:2]
    maps = jax.lax.stop_gradient(mask_logits).transpose(0, 2, 3, 1)
    resized = resize_bilinear(maps, size).reshape(batch, -1, queries)
    return foreground(resized.transpose(0, 2, 1))


def foreground(logits: Float[Array, "B Q S"]) -> Bool[Array, "B Q S"]:
    """Where a mask is; a query whose mask is all background looks everywhere."""
    seen = logits >= 0  # sigmoid >= 0.5
    return seen | ~seen.any(-1, keepdims=True)


def semantic_scores(
    class_logits: Float[Array, "B Q K1"],
    mask_logits: Float[Array, "B Q H4 W4"],
    size: tuple[int, int],
) -> Float[Array, "B H W K"]:
    """Per-pixel class scores: Σ_q softmax(class)·sigmoid(mask), masks upsampled first.

    Args:
      class_logits: of the last prediction.
      mask_logits: of the last prediction.
      size: (H, W) of the input image.
    """
    classes = jax.nn.softmax(class_logits)[..., :-1]  # [B, Q, K]
    masks = resize_bilinear(mask_logits.transpose(0, 2, 3, 1), size)  # [B, H, W, Q]
    return FLOAT32.einsum("bqk,bhwq->bhwk", classes, jax.nn.sigmoid(masks))
