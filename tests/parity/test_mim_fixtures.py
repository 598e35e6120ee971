"""The shared ASPP decoder of the authors' deleted training state."""

import pytest
from outside import needs_fixtures
from parity_mim import measured

pytestmark = [pytest.mark.slow, needs_fixtures("mim_history.npz")]


def test_reconstruction_losses_and_gradients():
    errors = measured()
    # These two add a quarter million signs of nearly the same number of each kind.
    noisy = {"gradient of refine.bias", "gradient of final.bias"}
    for name, error in errors.items():
        assert error <= (2e-3 if name in noisy else 1e-4), name
