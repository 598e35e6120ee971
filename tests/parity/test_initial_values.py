"""Initial values beside those of PyTorch's modules, set up as mmdetection does.

The distributions are compared: mean, deviation, range and shape of what is drawn.
"""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.mask2former import Mask2Former
from crossearth_jax.models.parameters import dotted
from crossearth_jax.models.rein import Rein

torch = pytest.importorskip("torch", reason="needs PyTorch")

pytestmark = pytest.mark.slow
init = torch.nn.init

C, D, K, FFN, ENCODER_FFN = 384, 256, 5, 2048, 1024
Drawn = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def ours() -> Drawn:
    def draw() -> dict:
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "heads": 8, "points": 4}
        sizes |= {"encoder_ffn": ENCODER_FFN, "decoder_ffn": FFN, "groups": 32}
        decoder = Mask2Former(C, D, K, **sizes, rngs=nnx.Rngs(0))
        sizes = {"depth": 4, "width": C, "query_width": D, "num_tokens": 100}
        sizes |= {"rank": 16, "patch_size": 16, "scale": 1e-3}
        parts = {"decoder": decoder, "rein": Rein(**sizes, rngs=nnx.Rngs(1))}
        return {k: nnx.to_pure_dict(nnx.state(v)) for k, v in parts.items()}

    return {k: np.asarray(v) for k, v in dotted(jax.jit(draw)()).items()}


def linear(n_in: int, n_out: int) -> torch.nn.Module:
    return torch.nn.Linear(n_in, n_out)


def conv(n_in: int, n_out: int, kernel: int = 1) -> torch.nn.Module:
    return torch.nn.Conv2d(n_in, n_out, kernel)


def changed(
    module: torch.nn.Module, weight: Callable, *, zero_bias: bool = True
) -> torch.nn.Module:
    weight(module.weight)
    if zero_bias:
        init.zeros_(module.bias)
    return module


def caffe2(weight: torch.Tensor) -> None:
    init.kaiming_uniform_(weight, a=1)


def attention() -> Drawn:
    """Of the transformer decoder: Xavier-normal wherever there are two axes."""
    module = torch.nn.MultiheadAttention(D, 8)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            init.xavier_normal_(parameter)
    inner = zip(
        ("query", "key", "value"),
        module.in_proj_weight.chunk(3),
        module.in_proj_bias.chunk(3),
        strict=True,
    )
    named = {f"{name}.kernel": weight for name, weight, _ in inner}
    named |= {f"{name}.bias": torch.zeros(D) for name in ("query", "key", "value")}
    assert not module.in_proj_bias.any() and not module.out_proj.bias.any()
    return named | {
        "out.kernel": module.out_proj.weight,
        "out.bias": module.out_proj.bias,
    }


def theirs() -> Drawn:
    """Every trained array that mmdetection has, or Rein, by our names."""
    pixels, layer = "decoder.pixel_decoder", "decoder.layers.0"
    encoder = f"{pixels}.encoder.0"
    modules = {
        "rein.transform": linear(C, D),
        "rein.merge": linear(3 * D, D),
        "rein.mlp_token2feat": linear(C, C),
        "rein.mlp_delta_f": linear(C, C),
        "decoder.query_feature": linear(D, D),
        "decoder.class_head": linear(D, K + 1),
        **{f"decoder.mask_head.layers.{i}": linear(D, D) for i in range(3)},
        **{
            f"{pixels}.input_convs.{i}.conv": changed(conv(C, D), init.xavier_uniform_)
            for i in range(3)
        },
        f"{pixels}.lateral.conv": changed(conv(C, D), caffe2),
        f"{pixels}.output.conv": changed(conv(D, D, 3), caffe2),
        f"{pixels}.mask_feature": changed(conv(D, D), caffe2),
        **{
            f"{encoder}.self_attn.{name}": changed(linear(D, D), init.xavier_uniform_)
            for name in ("value_proj", "output_proj")
        },
    }
    for owner, hidden in ((encoder, ENCODER_FFN), (layer, FFN)):
        for name, sizes in (("fc1", (D, hidden)), ("fc2", (hidden, D))):
            modules[f"{owner}.ffn.{name}"] = changed(
                linear(*sizes), init.xavier_normal_, zero_bias=False
            )
    found = {}
    for name, module in modules.items():
        found[f"{name}.kernel"], found[f"{name}.bias"] = module.weight, module.bias
    for name in ("cross_attn", "self_attn"):
        found |= {f"{layer}.{name}.{k}": v for k, v in attention().items()}
    found["decoder.level_embed"] = torch.nn.Embedding(3, D).weight
    found[f"{pixels}.level_encoding"] = init.normal_(torch.empty(3, D))
    for name in ("lateral", "output"):
        del found[f"{pixels}.{name}.conv.bias"]  # GroupNorm follows
    return {k: v.detach().numpy() for k, v in found.items()}


def test_distributions_are_the_authors(ours):
    torch.manual_seed(0)
    for name, expected in theirs().items():
        got = ours[name]
        assert got.size == expected.size, name
        if not expected.any():
            assert not got.any(), name
            continue
        error = expected.std() / expected.size**0.5
        assert abs(got.mean() - expected.mean()) < 6 * error, name
        spread = 6 / expected.size**0.5
        assert abs(got.std() / expected.std() - 1) < spread, name
        # Uniform ends at √3 deviations; a normal one does not.
        farthest = [np.abs(x).max() / x.std() for x in (got, expected)]
        uniform = [x < 1.9 for x in farthest]
        assert uniform[0] == uniform[1], (name, farthest)
        if uniform[0] and expected.size > 100:
            assert np.abs(got).max() == pytest.approx(np.abs(expected).max(), rel=0.05)


def test_every_trained_array_is_compared(ours):
    left = {name for name in ours if name not in theirs()}
    known = (".norm", "post_norm", "sampling_offsets", "attention_weights", "rein.")
    assert {name for name in left if not any(part in name for part in known)} == set()
    assert {n for n in left if n.startswith("rein.")} == {
        "rein.scale",
        "rein.tokens_a",
        "rein.tokens_b",
    }


def test_first_queries_and_masks_are_as_close_as_the_authors(ours):
    """Queries of another deviation than theirs would show here."""
    del ours
    queries = Rein(
        depth=4, width=C, query_width=D, num_tokens=100, rank=16, patch_size=16,
        scale=1e-3, rngs=nnx.Rngs(1),
    ).queries()  # fmt: skip
    norms = np.linalg.norm(queries, axis=1)
    cosine = np.asarray(queries @ queries.T) / norms / norms[:, None]
    assert cosine.mean() > 0.98
