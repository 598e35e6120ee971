"""Bicubic resizing of weights and positions against the authors' PyTorch."""

from outside import needs_fixtures
from parity_resampling import conversion_errors, runtime_errors

pytestmark = needs_fixtures("interp.npz")


def test_conversion():
    errors = conversion_errors()
    assert len(errors) > 1
    assert max(errors.values()) <= 1e-5, errors


def test_positions_at_run_time():
    errors = runtime_errors()
    assert len(errors) > 1
    assert max(errors.values()) <= 1e-5, errors
