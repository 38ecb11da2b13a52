"""A short form of `tests/campaigns/odd_calls.py`, with a seed of its own."""

import pytest

import tinygrad_seq as tgs
from tests.campaigns import odd_calls
from tests.campaigns.odd_runs import RECORDS, TABLE
from tinygrad_seq import nn
from tinygrad_seq.arguments import installed
from tinygrad_seq.errors import DTypeError, TooLargeError


def test_odd_arguments_meet_a_value_or_an_error_of_ours() -> None:
    """1,200 of all places and odd values; the campaign makes every one."""
    counts, wrong = odd_calls.run(1200, seed=3, skip="training")
    assert not wrong, "\n".join(wrong)
    assert len(counts) > 100


def test_a_run_with_an_odd_setting_too() -> None:
    """Those of `training`, which train where the setting is right after all."""
    _, wrong = odd_calls.run(60, seed=3, only="training")
    assert not wrong, "\n".join(wrong)


def test_the_table_is_right_and_whole() -> None:
    """Its own arguments are taken, and a new public name has a line in it or is a record."""
    assert odd_calls.plain_calls() == []
    public = set(odd_calls.public())
    assert sorted(public - set(TABLE) - RECORDS) == []
    assert sorted({name for name in TABLE if "." in name} - public) == []


def test_the_text_names_the_argument() -> None:
    """What was given, what was expected, and Python's own error as the cause."""
    with pytest.raises(DTypeError) as error:
        nn.utils.clip_grad_value_("ab", 1.0)
    assert str(error.value) == (
        "clip_grad_value_: parameters of the wrong kind.\n  parameters: 'ab'\n"
        "  expected parameters: Tensor | Iterable[Tensor]."
    )
    assert type(error.value.__cause__) is AttributeError


def test_a_function_of_the_users_fails_in_its_own_words() -> None:
    """An error from inside a step is no matter of the arguments, which are right."""

    def step(x, h):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tgs.unroll(step, tgs.ones(2, 1), tgs.ones(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: nn.GRU(n, n), lambda n: nn.LSTM(2, 2, num_layers=n), lambda n: tgs.rand(n, 4),
        lambda n: nn.ALiBi(n),
        lambda n: nn.Linear(n, 2), lambda n: nn.LayerNorm(n), lambda n: nn.generate_square_subsequent_mask(n),
        lambda n: nn.sinusoidal(n, 4), lambda n: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 4), n),
    ],
)  # fmt: skip
def test_no_memory_is_said_before_any_is_taken(make) -> None:
    """A size that no memory here holds: at once, without an allocation that the system may grant and never have."""
    with pytest.raises(TooLargeError, match="there is no memory for so many elements"):
        make(max(2**40, installed()))
