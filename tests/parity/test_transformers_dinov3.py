"""Our DINOv3 against the one of `transformers`, random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models.dinov3 import DinoV3, DinoV3Config
from crossearth_jax.models.parameters import dotted, read_weights, undotted
from crossearth_jax.pixels.normalise import normalise
from weights_convert.dinov3 import PRETRAINING, dinov3

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_compile")]
PREFIX = 5  # class and registers


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.DINOv3ViTConfig(
        **sizes, intermediate_size=128, num_register_tokens=4, image_size=64
    )
    model = transformers.DINOv3ViTModel(config).eval()
    with torch.no_grad():  # trained weights are not at their initial values
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def our_model(path):
    arrays, _ = read_weights(path)
    config = DinoV3Config(width=32, depth=3, heads=2, taps=(0, 1, 2))
    model = nnx.eval_shape(lambda: DinoV3(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    like = {"backbone": nnx.to_pure_dict(state)}
    mine = {k: v for k, v in arrays.items() if k.startswith("backbone.")}
    assert mine.keys() == dotted(like).keys()
    params = jax.tree.map(jnp.asarray, undotted(mine, like))["backbone"]
    return nnx.merge(graph, params)


def assert_same_tokens(ours, theirs, image, their_image, remat=False):
    with torch.no_grad():
        hidden = theirs(
            torch.from_numpy(np.array(their_image)).permute(0, 3, 1, 2),
            output_hidden_states=True,
        ).hidden_states
    tokens, taps = jax.jit(lambda x: (ours.embed(x), ours(x, remat=remat)))(image)
    np.testing.assert_allclose(tokens, hidden[0], rtol=1e-5, atol=2e-5)
    for tap, expected in zip(taps, hidden[1:], strict=True):
        tokens = expected[:, PREFIX:].reshape(tap.shape).numpy()
        error = np.linalg.norm(tap - tokens) / np.linalg.norm(tokens)
        assert error <= 1e-5


@pytest.mark.parametrize(
    ("suffix", "size"), [(".safetensors", (48, 112)), (".bin", (64, 64))]
)
def test_same_tokens_after_every_block(theirs, suffix, size, tmp_path):
    if suffix == ".bin":  # names in memory, which differ from those on disk
        torch.save(theirs.state_dict(), tmp_path / "model.bin")
    else:
        theirs.save_pretrained(tmp_path)
    ours = tmp_path / "ours.safetensors"
    dinov3(tmp_path / f"model{suffix}", ours, trained_on="lvd1689m")
    image = np.random.default_rng(0).standard_normal((2, *size, 3), np.float32)
    remat = suffix == ".bin"
    assert_same_tokens(our_model(ours), theirs, image, image, remat)


def test_satellite_weights_take_our_pixels(theirs, tmp_path):
    """Theirs gets pixels normalised as SAT-493M was, ours as everything here."""
    theirs.save_pretrained(tmp_path)
    ours = tmp_path / "ours.safetensors"
    dinov3(tmp_path / "model.safetensors", ours, trained_on="sat493m")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    sat = PRETRAINING["sat493m"]
    their_image = (np.float32(pixels / 255) - sat.mean) / sat.std
    assert_same_tokens(
        our_model(ours), theirs, normalise(pixels), their_image.astype(np.float32)
    )
