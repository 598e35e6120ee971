"""The model's numbers stay what they were; see golden_cases.py."""

import numpy as np
import pytest
from golden_cases import FILE, compute


@pytest.mark.slow
def test_every_stage_is_as_committed():
    found, expected = compute(), np.load(FILE)
    assert found.keys() == set(expected.files)
    for name, values in found.items():
        error = np.linalg.norm(values - expected[name])
        assert error <= 1e-4 * np.linalg.norm(expected[name]), name
