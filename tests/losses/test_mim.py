"""L_MIM and L_Δ (method.md section 7)."""

import jax.numpy as jnp
import numpy as np
import pytest

from crossearth_jax.losses.mim import delta_loss, reconstruction_loss

A = jnp.zeros((2, 2, 2, 3))
C = jnp.stack([jnp.full((2, 2, 3), 3.0), jnp.full((2, 2, 3), -2.0)])


def test_errors_are_means_of_each_image():
    assert reconstruction_loss(A, C, "l1").tolist() == [3.0, 2.0]
    assert reconstruction_loss(A, C, "mse").tolist() == [9.0, 4.0]
    assert reconstruction_loss(C, C, "mse").tolist() == [0.0, 0.0]
    assert delta_loss(C, A).tolist() == delta_loss(A, C).tolist() == [3.0, 2.0]


def test_every_pixel_counts_alike():
    one = A.at[0, 1, 0, 2].set(12.0)
    assert reconstruction_loss(one, A, "l1").tolist() == [1.0, 0.0]
    assert reconstruction_loss(one, A, "mse").tolist() == [12.0, 0.0]


def test_other_losses_are_refused():
    with pytest.raises(ValueError, match=r'got mim.loss="huber", expected "l1" or'):
        reconstruction_loss(A, A, "huber")


def test_only_counted_pixels_enter_the_mean():
    prediction, target = jnp.ones((2, 2, 2, 3)), jnp.zeros((2, 2, 2, 3))
    prediction = prediction.at[0, 0, 0].set(3.0)
    counted = jnp.zeros((2, 2, 2), bool).at[0, 0].set(True)
    got = reconstruction_loss(prediction, target, "mse", counted)
    np.testing.assert_allclose(got, [(9 + 1) / 2, 0])  # nothing counts: no error
