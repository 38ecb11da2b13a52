"""Trees of tensors: one list of what a container is, for states, NumPy's calls and pictures alike."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine import tree
from tinygrad_seq.errors import DTypeError, ShapeError

pytestmark = pytest.mark.laws


class Pair(NamedTuple):
    """A state with names."""

    h: Any
    c: Any


class Row(list[Any]):
    """A list of one's own."""


def numbers() -> list[Any]:
    return [tgs.tensor([float(i)]) for i in range(5)]


a, b, c, d, e = numbers()
TREES = [
    (a, [0.0]),
    (None, []),
    ((), []),
    ((a, [b, None, {"x": c, "y": (d,)}]), [0.0, 1.0, 2.0, 3.0]),
    (Pair(a, Pair(b, [c])), [0.0, 1.0, 2.0]),
    (Row([a, Row([e])]), [0.0, 4.0]),
    (OrderedDict(z=b, a=a), [1.0, 0.0]),
]


@pytest.mark.parametrize(("given", "values"), TREES)
def test_leaves_are_in_order_and_build_the_same_tree_again(given: Any, values: list[float]) -> None:
    """`rebuild(t, leaves(t))` is t, and `tree_map` changes leaves alone."""
    assert [t.item() for t in tree.leaves(given)] == values

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, tgs.Tensor):
            return x is y
        if isinstance(x, dict):
            return isinstance(y, dict) and list(x) == list(y) and all(same(x[k], y[k]) for k in x)
        if x is None:
            return y is None
        return type(x) is type(y) and len(x) == len(y) and all(map(same, x, y))

    assert same(given, tree.rebuild(given, tree.leaves(given)))
    changed = tree.tree_map(lambda t: t + 10, given)
    assert [t.item() for t in tree.leaves(changed)] == [v + 10 for v in values]
    sums = tree.paired("f", lambda x, y: x + y, given, changed)
    assert [t.item() for t in tree.leaves(sums)] == [2 * v + 10 for v in values]
    assert same(tree.rebuild(changed, tree.leaves(given)), given)


def test_what_is_no_tensor_is_refused_or_left() -> None:
    """A state holds nothing else; arguments of NumPy's functions may."""
    mixed = [a, ("axis", 1.5), {"k": b}]
    with pytest.raises(DTypeError) as caught:
        tree.leaves(mixed)
    assert str(caught.value) == (
        "state: not made of tensors.\n  part: 'axis'\n"
        "  expected a tensor, None, or tuples, lists and dicts of them."
    )
    assert tree.leaves(mixed, ignore_others=True) == [a, b]
    assert tree.leaves(mixed, object) == [a, "axis", 1.5, b]
    changed = tree.tree_map(lambda t: 0, mixed, ignore_others=True)
    assert changed == [0, ("axis", 1.5), {"k": 0}]
    assert changed[1] is mixed[1], "what holds no tensor is not made anew"


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [
        (
            (a, b),
            (a,),
            "f: the state changes its form.\n  state: (Tensor([0.], f32(1,)),)\n"
            "  expected 2 parts, as the cell returns.",
        ),
        (
            {"h": a, "c": b},
            {"h": a},
            "f: the state changes its form.\n  state: {'h': Tensor([0.], f32(1,))}\n"
            "  expected the parts 'h', 'c', as the cell returns.",
        ),
        (
            a,
            None,
            "f: there is no first state.\n  returned: f32(1,)\n"
            "  expected a tensor: rows that have not begun keep the state they were given.",
        ),
    ],
)
def test_trees_of_two_forms_are_refused(new: Any, old: Any, text: str) -> None:
    """In the words of whoever pairs them."""
    with pytest.raises(ShapeError) as caught:
        tree.paired("f", lambda x, y: x, new, old)
    assert str(caught.value) == text


def test_numpy_takes_named_tuples_and_nested_data() -> None:
    """Whatever container a tensor or its `data` comes in, NumPy gets arrays in the same one."""
    pair = Pair(a.detach(), b.detach())
    np.testing.assert_array_equal(np.lexsort(pair), [0])
    data = tgs.tensor([1.0, 2.0]).data
    joined = np.block([[data, data], [data, data]])
    assert type(joined) is np.ndarray
    np.testing.assert_array_equal(joined, [[1, 2, 1, 2], [1, 2, 1, 2]])
