"""A short form of `tests/campaigns/fuzz_methods.py`, with a seed of its own."""

import tinygrad_seq
from tests.campaigns import fuzz_methods, fuzz_table
from tinygrad_seq import Tensor


def test_every_call_gives_the_right_value_or_an_error_of_ours() -> None:
    """1,500 calls of the table and of every public name; the campaign makes as many as it is told."""
    counts, wrong = fuzz_methods.run(1500, seed=7)
    assert not wrong, "\n".join(wrong)
    assert len(counts) > 150


def test_every_public_method_stands_in_a_table() -> None:
    """A new method is compared with NumPy, or it is said that there is nothing to compare it with."""
    known = {n for n in dir(Tensor) if not n.startswith("_") and callable(getattr(Tensor, n, None))}
    known -= fuzz_methods.LEFT_OUT
    tabled = {*fuzz_table.CALLS, *fuzz_table.UNVALUED}
    assert sorted(known - tabled) == []
    assert sorted(fuzz_table.UNVALUED - known) == []
    called = {name for name, _ in fuzz_methods.names()}
    functions = {n for n in tinygrad_seq._HOME_OF if n[0].islower() and callable(getattr(tinygrad_seq, n))}
    assert sorted(functions - called - fuzz_methods.LEFT_OUT) == []
