"""A short form of `tests/campaigns/fuzz_methods.py`, with a seed of its own."""

from tests.campaigns import fuzz_methods


def test_every_call_gives_the_right_value_or_an_error_of_ours() -> None:
    """1,500 calls of the table and of every public name; the campaign makes as many as it is told."""
    counts, wrong = fuzz_methods.run(1500, seed=7)
    assert not wrong, "\n".join(wrong)
    assert len(counts) > 150
