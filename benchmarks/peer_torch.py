"""CrossEarth in PyTorch, to measure ours against.

DINOv2 and Mask2Former are those of `transformers`; Rein, GSE, Injectors and the MIM
decoder are written here from the papers' equations (docs/paper_notes.md has ours).
Attention among the ViT's tokens is `scaled_dot_product_attention`; Mask2Former's is
what `transformers` has. The layout is PyTorch's, images [B, 3, H, W].

B batch, C backbone width, D decoder width, N = h·w tokens, m Rein tokens, Q = m
queries, K classes, P predictions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, Mask2FormerConfig
from transformers.models.mask2former import modeling_mask2former as mask2former

from crossearth_jax.models.crossearth import ModelConfig
from crossearth_jax.models.dinov2 import ViTConfig

DILATIONS = (1, 6, 12, 18)


class Rein(nn.Module):
    """Low-rank tokens that refine the patch tokens, and the queries made of them."""

    def __init__(
        self, depth: int, width: int, query_width: int, m: int, rank: int
    ) -> None:
        super().__init__()
        self.tokens_a = nn.Parameter(torch.empty(depth, m, rank))
        self.tokens_b = nn.Parameter(torch.empty(depth, rank, width))
        self.scale = nn.Parameter(torch.empty(()))
        self.mlp_token2feat = nn.Linear(width, width)
        self.mlp_delta_f = nn.Linear(width, width)
        self.transform = nn.Linear(width, query_width)
        self.merge = nn.Linear(3 * query_width, query_width)

    def forward(self, layer: int, features: Tensor) -> Tensor:
        """[B, N, C] after one block, refined."""
        tokens = self.tokens_a[layer] @ self.tokens_b[layer]  # [m, C]
        similarity = features @ tokens.T * features.shape[-1] ** -0.5  # [B, N, m]
        share = similarity.softmax(-1)[..., 1:]
        values = share @ self.mlp_token2feat(tokens[1:])
        return features + self.scale * self.mlp_delta_f(values + features)

    def queries(self) -> Tensor:
        """[Q, D]: maximum, mean and last layer side by side for every channel."""
        tokens = self.transform(self.tokens_a @ self.tokens_b)  # [L, m, D]
        parts = (tokens.amax(0), tokens.mean(0), tokens[-1])
        return self.merge(torch.stack(parts, -1).flatten(1))


class Gse(nn.Module):
    """Five convolutions with ReLU: one geospatial query per token."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        halvings = int(math.log2(patch))
        widths = [3, *(max(16, 64 * 2**i * width // 1024) for i in range(4)), width]
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, 1 + (i < halvings), 1)
            for i in range(5)
        )

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, C, h, w]."""
        for conv in self.convs:
            image = conv(image).relu()
        return image


class Attention(nn.Module):
    """Multi-head attention by SDPA with a linear layer for each role."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width) for _ in range(4)
        )

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """[B, N, C] and [B, S, C] to [B, N, C]."""
        made = (self.query(query), self.key(memory), self.value(memory))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in made)
        attended = functional.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).flatten(2))


class Injector(nn.Module):
    """F + γ·CrossAttn(LN(G), LN(F))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width)
        self.feature_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Both [B, C, h, w]."""
        q, f = (x.flatten(2).transpose(1, 2) for x in (queries, feature))
        attended = self.attention(self.query_norm(q), self.feature_norm(f))
        refined = f + self.gamma * attended
        return refined.transpose(1, 2).unflatten(2, feature.shape[2:])


class MimDecoder(nn.Module):
    """Four dilated convolutions, one for each tap, and a linear layer to pixels."""

    def __init__(self, width: int, hidden: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.convs = nn.ModuleList(
            nn.Conv2d(width, hidden, 3, padding=rate, dilation=rate)
            for rate in DILATIONS
        )
        self.linear = nn.Linear(len(DILATIONS) * hidden, 3 * patch * patch)

    def forward(self, taps: list[Tensor]) -> Tensor:
        """Four [B, C, h, w] to [B, 3, H, W]."""
        maps = [conv(x).relu() for conv, x in zip(self.convs, taps, strict=True)]
        pixels = self.linear(torch.cat(maps, 1).permute(0, 2, 3, 1))
        pixels = pixels.unflatten(-1, (self.patch, self.patch, 3))
        return pixels.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)


class Decoder(nn.Module):
    """Mask2Former of `transformers` on Rein's queries, with the heads of ours."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = _mask2former(config)
        width = config.width
        self.pixel_decoder = mask2former.Mask2FormerPixelDecoder(
            sizes, [config.backbone.width] * 4
        )
        self.position = mask2former.Mask2FormerSinePositionEmbedding(
            width // 2, normalize=True
        )
        self.layers = mask2former.Mask2FormerMaskedAttentionDecoder(sizes)
        self.level_embed = nn.Parameter(torch.empty(3, width))
        self.query_feature = nn.Linear(width, width)
        self.class_head = nn.Linear(width, config.num_classes + 1)

    def forward(self, stages: list[Tensor], queries: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [P, B, Q, K + 1] and mask logits [P, B, Q, H/4, W/4]."""
        found = self.pixel_decoder(stages)
        maps = found.multi_scale_features
        memories, positions = [], []
        for memory, level in zip(maps, self.level_embed, strict=True):
            memories.append(memory.flatten(2).permute(2, 0, 1) + level)
            place = self.position(memory.shape, memory.device, memory.dtype)
            positions.append(place.flatten(2).permute(2, 0, 1))
        batch = len(maps[0])
        output = self.layers(
            inputs_embeds=self.query_feature(queries)[:, None].repeat(1, batch, 1),
            multi_stage_positional_embeddings=positions,
            pixel_embeddings=found.mask_features,
            encoder_hidden_states=memories,
            query_position_embeddings=queries[:, None].repeat(1, batch, 1),
            feature_size_list=[memory.shape[-2:] for memory in maps],
            return_dict=True,
        )
        hidden = torch.stack(output.intermediate_hidden_states)  # [P, Q, B, D]
        classes = self.class_head(hidden.transpose(1, 2))
        return classes, torch.stack(output.masks_queries_logits)


class CrossEarth(nn.Module):
    """The whole network, in evaluation mode: it has no dropout to train with."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        vit = config.backbone
        self.taps_at, self.patch = vit.taps, vit.patch_size
        self.backbone = Dinov2Model(_dinov2(config.crop, vit))
        self.backbone.layernorm = nn.Identity()  # taps are taken before it
        self.backbone.requires_grad_(False)
        self.rein = Rein(
            vit.depth, vit.width, config.width, config.num_queries, config.rein_rank
        )
        self.gse = Gse(vit.width, vit.patch_size)
        self.injectors = nn.ModuleList(Injector(vit.width, vit.heads) for _ in range(4))
        self.decoder = Decoder(config)
        self.mim_decoder = MimDecoder(vit.width, config.mim_width, vit.patch_size)
        self.prompt = nn.Parameter(torch.empty(config.crop, config.crop, 3))
        self.eval()

    def taps(self, image: Tensor) -> list[Tensor]:
        """Four backbone features [B, C, h, w] refined by Rein."""
        grid = [side // self.patch for side in image.shape[2:]]
        tokens, outputs = self.backbone.embeddings(image), {}
        for i, block in enumerate(self.backbone.encoder.layer):
            tokens = block(tokens)
            patches = self.rein(i, tokens[:, 1:])
            tokens = torch.cat([tokens[:, :1], patches], 1)
            outputs[i] = patches
        return [outputs[i].transpose(1, 2).unflatten(2, grid) for i in self.taps_at]

    def segment(self, taps: list[Tensor], image: Tensor) -> tuple[Tensor, Tensor]:
        """Segmentation flow: logits of all predictions, see `Decoder`."""
        queries = self.gse(image)
        taps = [
            inject(tap, queries)
            for inject, tap in zip(self.injectors, taps, strict=True)
        ]
        stages = [
            tap if scale == 1 else _resize(tap, [int(scale * n) for n in tap.shape[2:]])
            for tap, scale in zip(taps, (4, 2, 1, 0.5), strict=True)
        ]
        return self.decoder(stages, self.rein.queries())

    def scores(self, image: Tensor) -> Tensor:
        """Per-pixel class scores [B, K, H, W] of a normalised image."""
        classes, masks = self.segment(self.taps(image), image)
        share = classes[-1].float().softmax(-1)[..., :-1]  # [B, Q, K]
        masks = _resize(masks[-1].float(), image.shape[2:]).sigmoid()
        return torch.einsum("bqk,bqhw->bkhw", share, masks)


def _resize(maps: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def _dinov2(crop: int, vit: ViTConfig) -> Dinov2Config:
    if not isinstance(vit, ViTConfig) or vit.registers or vit.swiglu:
        raise ValueError(
            f"got the backbone {vit}, expected a DINOv2 of plain blocks: the peer has "
            "no other, measure those with --peer none"
        )
    return Dinov2Config(
        hidden_size=vit.width,
        num_hidden_layers=vit.depth,
        num_attention_heads=vit.heads,
        mlp_ratio=int(vit.mlp_ratio),
        patch_size=vit.patch_size,
        image_size=crop,
        use_mask_token=False,
        attn_implementation="sdpa",
    )


def _mask2former(config: ModelConfig) -> Mask2FormerConfig:
    fixed = {"points": 4, "groups": 32}  # in the code of `transformers`
    found = {name: getattr(config, name) for name in fixed}
    if found != fixed:
        raise ValueError(f"got a decoder of {found}, expected {fixed} for the peer")
    return Mask2FormerConfig(
        feature_size=config.width,
        mask_feature_size=config.width,
        hidden_dim=config.width,
        encoder_feedforward_dim=config.encoder_ffn,
        dim_feedforward=config.decoder_ffn,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers + 1,  # counts the first prediction too
        num_attention_heads=config.heads,
        num_queries=config.num_queries,
        dropout=0.0,
    )
