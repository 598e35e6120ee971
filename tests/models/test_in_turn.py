"""Layers as a loop give what layers written out give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from crossearth_jax.models import in_turn as module
from crossearth_jax.models.in_turn import in_turn

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)


def layer(seed, *, bias=True):
    return nnx.Linear(3, 3, use_bias=bias, rngs=nnx.Rngs(seed))


def pair(seed):
    return layer(seed), layer(seed + 1)


def through(layers, x, **options):
    """Of all layers, with everything that each keeps."""

    def step(layer, number, x):
        for each in layer if isinstance(layer, tuple) else (layer,):
            x = jnp.tanh(each(x)) * (1 + number)
        return x, {"after": x, "number": jnp.asarray(number)}

    return in_turn(layers, step, x, **options)


@pytest.mark.parametrize("way", ["recomputed", "for a TPU"])
@pytest.mark.parametrize(
    "layers",
    [
        [layer(0), layer(1), layer(2)],
        [layer(0), layer(1, bias=False), layer(2, bias=False), layer(3)],
        [pair(0), pair(2), (layer(4),)],
        nnx.List([layer(0)]),
        [],
    ],
    ids=["alike", "two structures", "pairs and a rest", "one", "none"],
)
def test_a_loop_gives_what_layers_written_out_give(layers, way, monkeypatch):
    layers = [*layers]
    graph, params = nnx.split(layers)

    def loss(params, x, **options):
        x, kept = through(nnx.merge(graph, params), x, **options)
        return (x**2).sum() + sum(y["after"].sum() for y in kept), (x, kept)

    gradients = jax.grad(loss, (0, 1), has_aux=True)
    expected = gradients(params, X)
    monkeypatch.setattr(module, "for_tpu", lambda: way == "for a TPU")
    got = gradients(params, X, recomputed=way == "recomputed")
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_tpu_gets_each_structure_once(monkeypatch):
    layers = [layer(n) for n in range(8)]

    def products():
        return str(jax.make_jaxpr(lambda x: through(layers, x)[0])(X)).count("dot_gen")

    assert products() == 8
    monkeypatch.setattr(module, "for_tpu", lambda: True)
    assert products() == 1


def test_weights_that_nothing_learns_get_no_gradient_in_the_loop(monkeypatch):
    """The backward pass has one product a layer, that for the layer's input."""
    monkeypatch.setattr(module, "for_tpu", lambda: True)
    layers = [layer(n) for n in range(4)]
    text = str(jax.make_jaxpr(jax.grad(lambda x: through(layers, x)[0].sum()))(X))
    assert text.count("dot_gen") == 2
