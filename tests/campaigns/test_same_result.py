"""A short form of the campaign that runs one command again and again."""

import pytest

from tests.campaigns import same_result
from tinygrad_seq.runtime import jit


@pytest.mark.skipif(not jit.kernels_wanted(), reason="numba is switched off or not installed")
@pytest.mark.parametrize(("case", "runs", "bare"), [("small transformer", 2, False), ("small gru", 6, True)])
def test_the_same_command_leaves_the_same_run(case: str, runs: int, bare: bool) -> None:
    """In two processes with other hashes, another environment and a heap that is stirred, one on busy cores."""
    assert same_result.campaign([case], runs, processes=2, bare=bare) == []
