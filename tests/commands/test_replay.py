"""The tables of `crossearth replay`; tests/run/test_guard replays a dump."""

import jax.numpy as jnp

from crossearth_jax.commands.replay import _finiteness, _losses


def test_losses_by_name():
    table = _losses({"seg": jnp.float32(1.25), "loss": jnp.nan, "mim": 1e-7})
    assert table.as_csv() == "loss,value\nloss,nan\nmim,1e-07\nseg,1.25"


def test_broken_gradients_come_first_then_the_largest():
    params = {"a": jnp.array([1.0, -3.0]), "b": {"c": jnp.ones(3), "d": jnp.zeros(1)}}
    slopes = {
        "a": jnp.array([0.5, -0.25]),
        "b": {"c": jnp.array([1.0, jnp.inf, jnp.nan]), "d": jnp.array([2.0])},
    }
    table = _finiteness(params, slopes)
    assert table.title == "1 of 3 gradients hold values that are not finite"
    assert table.rows == [
        ("b.c", "1", "nan", "2"),
        ("b.d", "0", "2", "0"),
        ("a", "3", "0.5", "0"),
    ]


def test_twelve_rows_at_most_and_broken_ones_among_them():
    params = {str(i): jnp.ones(1) for i in range(20)}
    slopes = {str(i): jnp.array([float(i)]) for i in range(20)}
    slopes["0"] = jnp.array([jnp.nan])
    rows = _finiteness(params, slopes).rows
    assert [row[0] for row in rows] == ["0", *(str(i) for i in range(19, 8, -1))]
