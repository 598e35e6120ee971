"""Our DINOv2 against the independent one of `transformers`, random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.dinov2 import DinoV2, ViTConfig
from crossearth_jax.models.parameters import dotted, read_weights, undotted
from weights_convert.dinov2 import dinov2

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
VARIANTS = {
    "plain": ("Dinov2", {}),
    "swiglu": ("Dinov2", {"use_swiglu_ffn": True}),
    "registers": ("Dinov2WithRegisters", {"num_register_tokens": 3}),
}


def their_model(variant, patch, grid):
    name, options = VARIANTS[variant]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        **SIZES, **options, patch_size=patch, image_size=patch * grid
    )
    model = getattr(transformers, f"{name}Model")(config).eval()
    with torch.no_grad():  # trained weights are not at their initial values
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def our_model(path, **options):
    arrays, _ = read_weights(path)
    config = ViTConfig(width=32, depth=3, heads=2, taps=(0, 1, 2), **options)
    model = nnx.eval_shape(lambda: DinoV2(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    like = {"backbone": nnx.to_pure_dict(state)}
    mine = {k: v for k, v in arrays.items() if k.startswith("backbone.")}
    assert mine.keys() == dotted(like).keys()
    params = jax.tree.map(jnp.asarray, undotted(mine, like))["backbone"]
    return nnx.merge(graph, params)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_same_tokens_after_every_block(variant, suffix, tmp_path):
    model = their_model(variant, patch=16, grid=4)
    if suffix == ".bin":  # names in memory, which differ from those on disk
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        source = tmp_path / "pytorch_model.bin"
    else:
        model.save_pretrained(tmp_path)
        source = tmp_path / "model.safetensors"
    converted = dinov2(source, tmp_path / "ours.safetensors", crop=64)
    assert converted.facts["format"] == "Hugging Face Dinov2Model"
    registers = 3 if variant == "registers" else 0
    ours = our_model(
        tmp_path / "ours.safetensors",
        grid=4,
        swiglu=variant == "swiglu",
        registers=registers,
    )
    image = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)
    with torch.no_grad():
        hidden = model(
            torch.from_numpy(image).permute(0, 3, 1, 2), output_hidden_states=True
        ).hidden_states
    np.testing.assert_allclose(ours.embed(image), hidden[0], atol=1e-5)
    for tap, expected in zip(ours(image), hidden[1:], strict=True):
        tokens = expected[:, 1 + registers :].reshape(tap.shape).numpy()
        error = np.linalg.norm(tap - tokens) / np.linalg.norm(tokens)
        assert error <= 1e-5


def test_patch_14_becomes_patch_16_as_pytorch_resizes(tmp_path):
    model = their_model("plain", patch=14, grid=5)
    model.save_pretrained(tmp_path)
    dinov2(tmp_path / "model.safetensors", tmp_path / "ours.safetensors", crop=96)
    arrays, _ = read_weights(tmp_path / "ours.safetensors")
    state = model.state_dict()

    def resize(maps, size):
        return torch.nn.functional.interpolate(maps, size=size, mode="bicubic")

    kernel = resize(state["embeddings.patch_embeddings.projection.weight"], (16, 16))
    expected = kernel.permute(2, 3, 1, 0).numpy()
    np.testing.assert_allclose(
        arrays["backbone.patch_embed.kernel"], expected, atol=1e-6
    )
    positions = state["embeddings.position_embeddings"]
    grid = positions[:, 1:].reshape(1, 5, 5, -1).permute(0, 3, 1, 2)
    grid = resize(grid, (6, 6)).permute(0, 2, 3, 1).reshape(36, -1)
    expected = torch.cat([positions[0, :1], grid]).numpy()
    np.testing.assert_allclose(arrays["backbone.pos_embed"], expected, atol=1e-6)
