"""CrossEarth: the one assembly of backbone, adapters, decoders and prompt.

Data flow (paper Figure 3): the backbone gives four taps for every image; the
segmentation flow adds Injector(GSE(image)) and decodes with Mask2Former; the MIM
flow decodes the plain taps back to pixels.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from crossearth_jax.models.backbone import BackboneConfig
from crossearth_jax.models.families import VARIANTS, family_of
from crossearth_jax.models.gse import GeospatialSemanticExtractor
from crossearth_jax.models.injector import Injector
from crossearth_jax.models.mask2former import Mask2Former, Segmentation, semantic_scores
from crossearth_jax.models.mim_decoder import (
    AsppDecoder,
    LinearDecoder,
    SharedAsppDecoder,
)
from crossearth_jax.models.precision import Arithmetic
from crossearth_jax.models.rein import Rein
from crossearth_jax.pixels.resample import resize_bilinear, sides


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Every size and switch of the model.

    Attributes:
      backbone: sizes of f_φ; their type tells the family.
      num_classes: K.
      crop: training crop, the size of the visual prompt.
      width: D, decoder width.
      num_queries: Q = m, Rein tokens per layer.
      rein_rank: r; 0 for full-rank tokens.
      rein_scale: initial s.
      gse: GSE and Injectors on; False is the Rein baseline.
      injector_gamma: initial γ of the Injectors.
      injector_residual: False lets the attention output replace the feature.
      injector_order: "parallel": all Injectors ask with GSE's queries; "sequential":
        each but the first asks with the tap that the one before it has refined.
      mim: MIM decoder and prompt on.
      mim_decoder: "aspp" (Eq. 8, 9), "aspp_shared" or "linear".
      mim_width: hidden width of the MIM decoder.
      encoder_layers: deformable layers of the pixel decoder.
      decoder_layers: transformer decoder layers.
      heads: attention heads of the decoder.
      points: deformable sampling points.
      encoder_ffn: hidden width in the pixel decoder.
      decoder_ffn: hidden width in the transformer decoder.
      groups: GroupNorm groups.
    """

    backbone: BackboneConfig = VARIANTS["vit_large"]
    num_classes: int = 5
    crop: int = 512
    width: int = 256
    num_queries: int = 100
    rein_rank: int = 16
    rein_scale: float = 1e-3
    gse: bool = True
    injector_gamma: float = 0.0
    injector_residual: bool = True
    injector_order: Literal["parallel", "sequential"] = "parallel"
    mim: bool = True
    mim_decoder: str = "aspp"
    mim_width: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 9
    heads: int = 8
    points: int = 4
    encoder_ffn: int = 1024
    decoder_ffn: int = 2048
    groups: int = 32


def stage_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the stage maps of a token grid: strides p/4, p/2, p and 2p."""
    return [
        (4 * height, 4 * width),
        (2 * height, 2 * width),
        (height, width),
        (height // 2, width // 2),
    ]


def halved(tap: Float[Array, "B h w C"]) -> Float[Array, "B _ _ C"]:
    """Bilinear x0.5 without antialias is the mean of 2x2; an odd rest drops out.

    Raises:
      ValueError: a side is one token, which would leave none.
    """
    if min(tap.shape[1:3]) < 2:
        raise ValueError(
            f"got {tap.shape[1]}x{tap.shape[2]} tokens, expected two or more a side: "
            "pad the image to two patches, as scoring does"
        )
    batch, height, width, channels = tap.shape
    whole = tap[:, : height // 2 * 2, : width // 2 * 2]
    squares = whole.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return squares.mean((2, 4))


def stage_maps(taps: list[Float[Array, "B h w C"]]) -> list[Float[Array, "B _ _ C"]]:
    """Four taps of stride p as maps of stride p/4, p/2, p and 2p (method.md 1)."""
    finest, fine, *_ = stage_sizes(*taps[0].shape[1:3])
    enlarged = resize_bilinear(taps[0], finest), resize_bilinear(taps[1], fine)
    return [*enlarged, taps[2], halved(taps[3])]


class CrossEarth(nnx.Module):
    """The whole network. Everything but `backbone` is trainable."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        rngs: nnx.Rngs,
        arithmetic: Arithmetic = Arithmetic.FLOAT32,
        remat: bool = False,
    ) -> None:
        """Builds all parts that the configuration turns on.

        Args:
          config: sizes and switches.
          rngs: initialisation keys.
          arithmetic: of all but the decoder and its queries; parameters are created
            in float32.
          remat: recompute backbone blocks in the backward pass of training.
        """
        vit = config.backbone
        if len(vit.taps) != 4 or max(vit.taps) >= vit.depth:
            raise ValueError(
                f"got taps {vit.taps} of {vit.depth} blocks, expected four 0-based "
                "block numbers: set backbone.taps"
            )
        if config.injector_order not in ("parallel", "sequential"):
            raise ValueError(
                f'got injector.order="{config.injector_order}", expected "parallel" or '
                '"sequential"'
            )
        make = {"rngs": rngs, "arithmetic": arithmetic}
        self.config, self.remat = config, remat
        self.backbone = family_of(vit).module(vit, **make)
        self.rein = Rein(
            depth=vit.depth,
            width=vit.width,
            query_width=config.width,
            num_tokens=config.num_queries,
            rank=config.rein_rank,
            patch_size=vit.patch_size,
            scale=config.rein_scale,
            **make,
        )
        if config.gse:
            self.gse = GeospatialSemanticExtractor(vit.width, vit.patch_size, **make)
            self.injectors = nnx.List(
                [
                    Injector(
                        vit.width,
                        vit.heads,
                        gamma_init=config.injector_gamma,
                        residual=config.injector_residual,
                        **make,
                    )
                    for _ in range(4)
                ]
            )
        self.decoder = _decoder(config, rngs=rngs)
        if config.mim:
            self.mim_decoder = _mim_decoder(config, **make)
            self.prompt = nnx.Param(jnp.zeros((config.crop, config.crop, 3)))

    def taps(
        self, image: Float[Array, "B H W 3"], *, training: bool = False
    ) -> list[Float[Array, "B h w C"]]:
        """Four backbone features refined by Rein; only training needs `remat`."""
        refine = self.rein.refiner()
        return self.backbone(image, refine, remat=training and self.remat)

    def segment(
        self,
        taps: list[Float[Array, "B h w C"]],
        image: Float[Array, "B H W 3"],
        *,
        last_only: bool = False,
    ) -> Segmentation:
        """Segmentation flow: Injector(GSE), stage maps, Mask2Former."""
        if self.config.gse:
            queries = self.gse(image)
            taps = self._injected(taps, queries)
        # The decoder enlarges the first two itself: fewer channels are left then.
        stages, sizes = [*taps[:3], halved(taps[3])], stage_sizes(*taps[0].shape[1:3])
        queries = self.rein.queries()
        return self.decoder(stages, queries, sizes, last_only=last_only)

    def _injected(
        self, taps: list[Float[Array, "B h w C"]], queries: Float[Array, "B h w C"]
    ) -> list[Float[Array, "B h w C"]]:
        """Every tap refined by its Injector."""
        refined = []
        for inject, tap in zip(self.injectors, taps, strict=True):
            refined.append(inject(tap, queries))
            if self.config.injector_order == "sequential":
                queries = refined[-1]
        return refined

    def reconstruct(
        self, taps: list[Float[Array, "B h w C"]]
    ) -> Float[Array, "B H W 3"]:
        """MIM flow: the plain taps back to a normalised image."""
        if self.config.mim_decoder != "aspp_shared":
            return self.mim_decoder(taps).astype(jnp.float32)
        pixels = self.mim_decoder(stage_maps(taps)).astype(jnp.float32)
        patch = self.config.backbone.patch_size
        rows, columns = sides(taps[0])
        return resize_bilinear(pixels, (patch * rows, patch * columns))

    def scores(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B H W K"]:
        """Per-pixel class scores of a normalised image (inference)."""
        output = self.segment(self.taps(image), image, last_only=True)
        return semantic_scores(
            output.class_logits[-1], output.mask_logits[-1], sides(image)
        )


def _decoder(config: ModelConfig, *, rngs: nnx.Rngs) -> Mask2Former:
    """Float32 whatever the rest computes in.

    A layer attends where the mask before it exceeds one half, so rounding there
    changes what queries see.
    """
    return Mask2Former(
        config.backbone.width,
        config.width,
        config.num_classes,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        heads=config.heads,
        points=config.points,
        encoder_ffn=config.encoder_ffn,
        decoder_ffn=config.decoder_ffn,
        groups=config.groups,
        rngs=rngs,
    )


def _mim_decoder(
    config: ModelConfig, *, rngs: nnx.Rngs, arithmetic: Arithmetic
) -> nnx.Module:
    width, patch = config.backbone.width, config.backbone.patch_size
    make = {"rngs": rngs, "arithmetic": arithmetic}
    if config.mim_decoder == "aspp":
        return AsppDecoder(width, config.mim_width, patch, **make)
    if config.mim_decoder == "linear":
        return LinearDecoder(width, patch, **make)
    if config.mim_decoder == "aspp_shared":
        return SharedAsppDecoder(
            width, config.mim_width, output_size=config.crop, **make
        )
    raise ValueError(
        f'got mim.decoder="{config.mim_decoder}", expected "aspp", "aspp_shared" or '
        '"linear"'
    )
