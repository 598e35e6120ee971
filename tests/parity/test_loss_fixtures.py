"""Matching, losses, gradients and AdamW against the authors' PyTorch."""

import numpy as np
import pytest
from outside import needs_fixtures
from parity_fixtures import nhwc, recorded, relative
from parity_losses import (
    adamw_errors,
    assignments_differ,
    cost_errors,
    double_gradient_errors,
    gradient_errors,
    loss_errors,
    losses_and_gradients,
    without_ground_truth,
)

from crossearth_jax.data.transforms import pad_to_crop
from crossearth_jax.pixels.normalise import IMAGENET_MEAN, normalise

pytestmark = [
    pytest.mark.slow,
    needs_fixtures(
        "tiny_losses.npz", "tiny_adamw.npz", "tiny_segmentor.pth", "tiny_config.json"
    ),
]
LIMIT = 1e-4


def test_predictions_in_training():
    found, output = recorded("tiny_losses.npz"), losses_and_gradients()[2]
    for layer, (classes, masks) in enumerate(
        zip(output.class_logits, output.mask_logits, strict=True)
    ):
        assert relative(classes, found[f"layer{layer}/cls_pred"]) <= LIMIT
        assert relative(masks, found[f"layer{layer}/mask_pred"]) <= LIMIT


def test_matching_costs():
    errors = cost_errors()
    assert max(errors.values()) <= 1e-5, errors


def test_assignment_is_identical():
    assert not assignments_differ()


def test_every_loss_term():
    errors = loss_errors()
    assert max(errors.values()) <= LIMIT, errors


def test_every_gradient():
    errors = gradient_errors()
    # 1e-4 wherever PyTorch's own float32 is four times closer to its float64.
    limits = {k: min(2e-3, max(1e-4, 4 * noise)) for k, (_, noise) in errors.items()}
    wrong = {k: e for k, (e, _) in errors.items() if not e <= limits[k]}
    assert not wrong
    assert np.mean([e <= 1e-4 for e, _ in errors.values()]) > 0.8


def test_gradients_against_double_precision():
    errors = double_gradient_errors()
    assert max(errors.values()) <= 5e-4, errors


@pytest.mark.parametrize("step", [1, 3])
def test_adamw(step):
    for key, (parameter, change) in adamw_errors(step).items():
        assert parameter <= 1e-6, key
        # A change of 1e-4 in a parameter near 1 has three digits in float32.
        assert change <= 2e-3, key


@pytest.mark.parametrize("which", ["allignore", "oneignore"])
def test_images_without_any_class(which):
    got, expected = without_ground_truth(which)
    np.testing.assert_allclose(got, expected, rtol=LIMIT, atol=1e-7)


def test_padding():
    found = recorded("tiny_losses.npz")
    rgb = np.ascontiguousarray(found["pad/raw_bgr"][..., ::-1])
    fill = tuple(round(float(x)) for x in IMAGENET_MEAN)
    crop = found["pad/input"].shape[-1]
    image, label = pad_to_crop(rgb, found["pad/label"], crop=crop, fill=fill)
    np.testing.assert_array_equal(label, found["pad/label_padded"][0])
    got, expected = normalise(image[None]), nhwc(found["pad/input"])
    height, width = rgb.shape[:2]
    assert relative(got[:, :height, :width], expected[:, :height, :width]) <= 1e-6
    # We pad pixels before normalising, so that 0 is met to half a grey level.
    np.testing.assert_allclose(got[:, height:], expected[:, height:], atol=0.01)
    np.testing.assert_allclose(got[:, :, width:], expected[:, :, width:], atol=0.01)
