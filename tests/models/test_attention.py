import jax
import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.models import attention
from crossearth_jax.models.portable import portable
from crossearth_jax.system.compiling import traced_for


def inputs(batch=2, queries=5, keys=7, heads=3, width=4):
    rng = np.random.default_rng(0)
    shapes = [(batch, n, heads, width) for n in (queries, keys, keys)]
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def value_and_gradients(*qkv):
    def loss(*qkv):
        out = attention.attend(*qkv)
        return (out**3).sum(), out

    gradients, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*qkv)
    return [out, *gradients]


def test_attention_is_jaxs():
    qkv = inputs()
    expected = jax.nn.dot_product_attention(*qkv)
    np.testing.assert_allclose(attention.attend(*qkv), expected, atol=1e-6)
    mask = jnp.arange(7)[None, None, None] < jnp.array([3, 6])[:, None, None, None]
    mask = jnp.broadcast_to(mask, (2, 1, 5, 7))
    expected = jax.nn.dot_product_attention(*qkv, mask=mask)
    np.testing.assert_allclose(attention.attend(*qkv, mask), expected, atol=1e-6)


@pytest.mark.parametrize("few", [attention.FEW_WEIGHTS, 0])
def test_keys_behind_the_first_are_not_seen(few, monkeypatch):
    monkeypatch.setattr(attention, "FEW_WEIGHTS", few)
    query, key, value = inputs()
    expected = jax.nn.dot_product_attention(query, key[:, :4], value[:, :4])
    got = attention.attend(query, key, value, keys=4)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("sizes", [{}, {"heads": 1}, {"batch": 1, "queries": 1}])
def test_many_weights_give_the_same_head_by_head(sizes, monkeypatch):
    qkv = inputs(**sizes)
    few = value_and_gradients(*qkv)
    monkeypatch.setattr(attention, "FEW_WEIGHTS", 0)
    many = value_and_gradients(*qkv)
    for a, b in zip(few, many, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_many_weights_are_not_kept_for_the_backward_pass(monkeypatch):
    qkv = inputs(queries=200, keys=200)
    kept = []
    for few in (attention.FEW_WEIGHTS, 0):
        monkeypatch.setattr(attention, "FEW_WEIGHTS", few)
        _, backward = jax.vjp(lambda *x: attention.attend(*x), *qkv)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(backward)))
    assert kept[0] > 3 * 2 * 200 * 200 > 10 * kept[1]


def test_flash_attention_is_the_same_formula(monkeypatch):
    """Odd lengths too, on a CPU by JAX's own code in place of cuDNN's."""
    real, qkv = jax.nn.dot_product_attention, inputs()

    def on_a_cpu(*arrays, implementation, **options):
        assert implementation == "cudnn"
        assert {x.shape[1] % 2 for x in arrays} == {0}
        return real(*arrays, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", on_a_cpu)
    expected = real(*qkv)
    np.testing.assert_allclose(attention.flash_attention(*qkv), expected, atol=1e-6)
    expected = real(qkv[0], qkv[1][:, :4], qkv[2][:, :4])
    np.testing.assert_allclose(attention.flash_attention(*qkv, 4), expected, atol=1e-6)


def test_flash_attention_is_for_half_precision_on_a_gpu(monkeypatch):
    shape = jax.ShapeDtypeStruct((2, 5, 3, 64), jnp.bfloat16)
    assert not attention.flash_fits(shape, shape)
    facts = {"platform": "gpu", "compute_capability": "9.0"}
    device = type("Device", (), facts)()
    with traced_for(device):
        assert attention.flash_fits(shape, shape)
    assert not attention.flash_fits(shape, shape)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert attention.flash_fits(shape, shape)
    with portable():
        assert not attention.flash_fits(shape, shape)
    for other in (
        jax.ShapeDtypeStruct(shape.shape, jnp.float32),
        jax.ShapeDtypeStruct((2, 5, 3, 60), jnp.bfloat16),
        jax.ShapeDtypeStruct((2, 5, 3, 256), jnp.bfloat16),
    ):
        assert not attention.flash_fits(other, other)
    device.compute_capability = "7.5"
    assert not attention.flash_fits(shape, shape)


@pytest.mark.accelerator
def test_flash_attention_is_jaxs_on_the_gpu_itself():
    qkv = [x.astype(jnp.bfloat16) for x in inputs(width=64)]
    if not attention.flash_fits(qkv[0], qkv[2]):
        pytest.skip("cuDNN's flash attention does not fit this device")
    got = jax.jit(attention.flash_attention)(*qkv).astype(jnp.float32)
    expected = jax.nn.dot_product_attention(*(x.astype(jnp.float32) for x in qkv))
    np.testing.assert_allclose(got, expected, atol=0.03)


def test_flash_attention_lowers_for_a_gpu(monkeypatch):
    """With its derivative; JAX asks for the installed cuDNN before it lowers."""
    cudnn = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda _: True)
    monkeypatch.setattr(attention, "flash_fits", lambda *_: True)
    monkeypatch.setattr(attention, "FEW_WEIGHTS", 0)
    qkv = [jax.ShapeDtypeStruct((2, 5, 3, 64), jnp.bfloat16)] * 3

    def loss(*qkv):
        return attention.attend(*qkv).astype(jnp.float32).sum()

    traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*qkv)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "__cudnn$fmhaSoftmaxBackward" in text
    assert "cudnn" not in traced.lower(lowering_platforms=("cpu",)).as_text()
