"""`Sequential` takes modules and functions, and skips nothing; stacks take what makes layers."""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import DTypeError, nn
from tinygrad_seq import functional as F
from tinygrad_seq.nn import Linear, Sequential

pytestmark = pytest.mark.engine


def text_of(call: Callable[[], object]) -> str:
    """The full text of the DTypeError that a call raises."""
    with pytest.raises(DTypeError) as caught:
        call()
    return str(caught.value)


def test_functions_are_applied_in_their_place() -> None:
    """F.relu, tgs.tanh, a lambda, NumPy's and a built-in one; the names count them, as nn.ReLU() would."""
    first, last = Linear(2, 3), Linear(3, 1)
    net = Sequential(first, F.relu, lambda x: x * 2.0, np.tanh, abs, last)
    x = tgs.randn(4, 2)
    expected = last(abs((F.relu(first(x)) * 2.0).tanh()))
    np.testing.assert_array_equal(net(x).numpy(), expected.numpy())
    assert list(net.state_dict()) == ["0.weight", "0.bias", "5.weight", "5.bias"]
    assert len(net) == 6
    assert net[0] is first
    assert net[-1] is last
    assert [m for m in net][5] is last
    assert "  1: Function(relu)  # 0 parameters" in repr(net)
    np.testing.assert_array_equal(
        net[4:](x[:, :1].expand(4, 3)).numpy(), last(abs(x[:, :1].expand(4, 3))).numpy()
    )
    net(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_dict_names_the_parts() -> None:
    """One dict, as PyTorch's OrderedDict."""
    net = Sequential(collections.OrderedDict(fc=Linear(2, 2), act=F.tanh, out=Linear(2, 1)))
    assert list(net.state_dict()) == ["fc.weight", "fc.bias", "out.weight", "out.bias"]
    assert net(tgs.ones(1, 2)).shape == (1, 1)


def test_what_cannot_be_applied_is_refused() -> None:
    """Lists, tuples, classes, None, parameters, generators."""
    layers = [Linear(2, 2), Linear(2, 2)]
    told = "Sequential: part {} cannot be applied.\n  "
    for part, rule in (
        (layers, "expected a module or a function, got list.\n  Write Sequential(*parts)."),
        (tuple(layers), "expected a module or a function, got tuple.\n  Write Sequential(*parts)."),
        ((m for m in layers), "expected a module or a function, got generator.\n  Write Sequential(*parts)."),
        (Linear, "Linear is a class.\n  Write Linear(...)."),
        (None, "expected a module or a function, got NoneType."),
        ("relu", "expected a module or a function, got str."),
        (nn.Parameter([1.0]), "expected a module or a function, got Parameter."),
    ):
        assert text_of(lambda part=part: Sequential(part)) == told.format(0) + rule
        assert text_of(lambda part=part: Sequential(Linear(2, 2), part)) == told.format(1) + (
            rule.replace("got generator", f"got {type(part).__name__}")
        )
    assert len(Sequential()) == 0
    assert Sequential()(3) == 3
    hidden = Linear(2, 2)
    net = Sequential(Linear(2, 2), lambda x: hidden(x))
    assert "the module (Linear) in '1.function' would be neither learnt nor saved" in text_of(net.state_dict)


def test_stacks_are_made_of_layers() -> None:
    """A function must give a new module each time; anything else is refused in words."""
    one = Linear(2, 2)
    for given, text in (
        (3, "not made of layers.\n  expected a layer, or a function that makes one, got int."),
        (lambda: 3, "not made of layers.\n  expected the function to give a module, got int."),
        (
            lambda: one,
            "one layer would be all of them.\n  expected the function to make a new module each time.",
        ),
    ):
        assert text_of(lambda given=given: nn.TransformerEncoder(given, 2)) == f"TransformerEncoder: {text}"
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    assert text_of(lambda: nn.TransformerEncoder(layer, 1, norm=[nn.LayerNorm(4)])).startswith(
        "TransformerEncoder: part norm cannot be applied."
    )
