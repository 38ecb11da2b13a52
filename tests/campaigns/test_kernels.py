"""A short form of the campaign that damages cached kernels."""

import pytest

from tests.campaigns import damaged_kernels
from tinygrad_seq.runtime import jit


@pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed")
def test_a_byte_that_is_wrong_does_no_harm() -> None:
    """Neither a crash nor another number."""
    assert damaged_kernels.campaign(3, seed=5) == []
