"""Views: what `x += y` does to tensors that share memory, and what is no view."""

from __future__ import annotations

import copy
import gc
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import DTypeError, GraphError, nn
from tinygrad_seq.engine.unknown_names import missing

pytestmark = pytest.mark.engine

A = np.arange(1.0, 7.0).reshape(2, 3)
VIEWS: dict[str, Callable[[Any], Any]] = {
    "entry": lambda x: x[0], "part": lambda x: x[:, 1:], "whole": lambda x: x[...], "new axis": lambda x: x[None],
    "reshape": lambda x: x.reshape(3, 2), "flat": lambda x: x.reshape(-1), "transposed": lambda x: x.T,
    "a part of a form": lambda x: x.reshape(-1)[1:5].reshape(2, 2)[1],
}  # fmt: skip


NUMBERS: dict[str, Callable[[Any], Any]] = {
    "entry of a row": lambda x: x.reshape(-1)[0], "of a matrix": lambda x: x[1, 2], "negative": lambda x: x[0][-1],
    "with an ellipsis": lambda x: x[0, ..., 1], "a NumPy integer": lambda x: x[np.int64(1), np.int64(0)],
    "iterated": lambda x: list(next(iter(x)))[2], "unbound": lambda x: x[0].unbind()[1],
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_one_number_of_a_tensor_is_a_view_too(name: str) -> None:
    """As in PyTorch: what is written to x is seen in `x[0]` of a row, and the other way round."""
    torch = pytest.importorskip("torch")
    x, t = tgs.tensor(A), torch.tensor(A)
    y, expected = NUMBERS[name](x), NUMBERS[name](t)
    for change in (lambda x, y: x.add_(5.0), lambda x, y: operator.imul(y, 3.0), lambda x, y: y.fill_(7.0)):
        change(x, y)
        change(t, expected)
        assert x.tolist() == t.tolist()
        assert y.item() == expected.item()
    x[0] = 9.0
    x[1] = 9.0
    assert (y.item(), y.shape) == (9.0, ())


@pytest.mark.parametrize("cut", [tgs.bptt.cut, lambda h: tgs.bptt.cut([h])[0], lambda h: h.detach()])
@pytest.mark.parametrize("wants", [False, True])
def test_a_cut_state_is_written_through(cut: Callable[[Any], Any], wants: bool) -> None:
    """`c = cut(h); c += 1` changes h, as with `detach`; a tape that reads h then refuses."""
    w = tgs.tensor(A, requires_grad=wants)
    h = w * 2.0
    loss = (h * h).sum()
    c = cut(h)
    c += 1.0
    np.testing.assert_array_equal(h.numpy(), 2.0 * A + 1.0)
    np.testing.assert_array_equal(c.numpy(), h.numpy())
    if wants:
        with pytest.raises(GraphError, match="was changed in place"):
            loss.backward()


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_written_through(name: str) -> None:
    """As NumPy's views are: `row = x[0]; row += 1` changes x, and `x += 1` changes row."""
    for change in (operator.iadd, operator.imul):
        x, array = tgs.tensor(A), A.copy()
        view, expected = VIEWS[name](x), VIEWS[name](array)
        change(view, 3.0)
        change(expected, 3.0)
        np.testing.assert_array_equal(x.numpy(), array)
        np.testing.assert_array_equal(view.numpy(), expected)
        change(x, 5.0)
        change(array, 5.0)
        np.testing.assert_array_equal(view.numpy(), expected)


def test_rows_pieces_and_detached_tensors() -> None:
    """A loop over rows, `chunk`, `detach`, and the rows of a parameter inside no_grad()."""
    x, array = tgs.tensor(A), A.copy()
    for row, expected in zip(x, array, strict=True):
        row /= row.sum()
        expected /= expected.sum()
    np.testing.assert_allclose(x.numpy(), array, rtol=1e-15)
    left, right = x.chunk(2, -1)
    left *= 0.0
    right -= right
    assert x.tolist() == [[0.0] * 3] * 2
    w = nn.Parameter(A)
    values = w.detach()
    values -= 1.0
    np.testing.assert_array_equal(w.numpy(), A - 1.0)
    with tgs.no_grad():
        for row in w:
            row *= 2.0
        flat = w.view(-1)
        w += 1.0
    np.testing.assert_array_equal(w.numpy(), 2.0 * (A - 1.0) + 1.0)
    np.testing.assert_array_equal(flat.numpy(), w.numpy().reshape(-1))
    assert w.requires_grad
    assert w.is_leaf


def refusal(x: Any, y: Any) -> str:
    """The text of the refusal of x += y."""
    with pytest.raises(GraphError) as caught:
        x += y
    return str(caught.value)


def test_on_the_tape_it_is_refused_while_both_are_there() -> None:
    """What the other would become is not recorded. Where nobody can see the other any more, nothing is wrong."""
    w = tgs.tensor(A, requires_grad=True)
    h = w * 2.0
    row, buffer = h[0], tgs.zeros(2, 3, dtype=np.float64)
    for x, y, origin in (
        (row, 1.0, "x: f64(3,)   from slice"),
        (h, 1.0, "x: f64(2, 3)   from mul"),
        (buffer[0], row, "x: f64(3,)"),
    ):
        assert refusal(x, y) == (
            f"x += y: x is seen elsewhere.\n  {origin}\n"
            "  another tensor that is still there shares its memory, as x[0] does, and would not change.\n"
            "  Write x = x + y."
        )
    del x, y, row
    gc.collect()  # the errors hold on to what they were told of
    h += 1.0
    h = h.T
    h *= 2.0
    first, second = (h * 1.0).chunk(2, -1)
    first *= 3.0
    (first.sum() + second.sum()).backward()
    np.testing.assert_array_equal(w.grad.numpy(), [[12.0] * 3, [4.0] * 3])


def test_a_tape_that_has_read_a_view_notices() -> None:
    """The write reaches what the tape holds: refused, as by PyTorch."""
    x, w = tgs.tensor(A), tgs.tensor(A, requires_grad=True)
    loss = (x * w).sum()
    row = x[0]
    row += 1.0
    with pytest.raises(GraphError, match="was changed in place"):
        loss.backward()


def test_what_is_a_copy_in_pytorch_is_one_here() -> None:
    """`flip`, `repeat`, `cumsum`, `contiguous` of a transpose: writing to the result leaves x as it was."""
    copies: list[Callable[[Any], Any]] = [
        lambda x: x.flip(0), lambda x: x.repeat(1, 1), lambda x: x.tile((1, 1)), lambda x: x[:1].cumsum(0),
        lambda x: x.T.contiguous(), lambda x: x.clone(), lambda x: x[[0, 1]], lambda x: x.roll(1, 0),
    ]  # fmt: skip
    for wants in (False, True):
        for make in copies:
            x = tgs.tensor(A, requires_grad=wants)
            y = make(x)
            y += 1.0
            if not wants:
                y.add_(1.0)
            np.testing.assert_array_equal(x.numpy(), A)
    out, state = nn.GRU(3, 3).eval()(tgs.zeros(2, 1, 3))
    before = out.numpy().copy()
    with tgs.no_grad():
        state = state.detach()
        state += 1.0
    np.testing.assert_array_equal(out.numpy(), before)
    x = tgs.tensor(A)
    assert x.contiguous() is x


def test_a_loop_over_a_state_that_is_a_view() -> None:
    """`unroll` keeps each step's output though the step changes its state in place."""

    def cell(x: Any, h: Any) -> Any:
        h += x
        return h, h

    states = tgs.zeros(2, 1)
    outs, _ = tgs.unroll(cell, tgs.tensor([[1.0], [2.0], [3.0]]), states[0])
    assert outs.tolist() == [[1.0], [3.0], [6.0]]


def test_methods_that_write_do_not_drop_a_gradient() -> None:
    """`total.add_(loss)` was written without the loss's gradient; inside no_grad() only values are asked for."""
    x, v = tgs.zeros(2), tgs.tensor([1.0, 2.0], requires_grad=True)
    calls: dict[str, Callable[[], Any]] = {
        "add_": lambda: x.add_(v), "sub_": lambda: x.sub_(v * 1.0), "mul_": lambda: x.mul_(v),
        "div_": lambda: x.div_(v), "pow_": lambda: x.pow_(v), "clamp_": lambda: x.clamp_(min=v),
        "masked_fill_": lambda: x.masked_fill_(tgs.tensor([True, False]), v[0]),
        "copy_": lambda: x.copy_(v), "fill_": lambda: x.fill_(v[0]),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(GraphError, match=rf"{name}: the gradient of the value would be lost"):
            call()
        assert x.tolist() == [0.0, 0.0]
    with tgs.no_grad():
        assert x.add_(v).tolist() == [1.0, 2.0]


def test_a_list_is_not_unequal_without_a_word() -> None:
    """`x == [1, 2]` was False, where NumPy compares each: refused."""
    x = tgs.tensor([1.0, 2.0])
    for call in (lambda: x == [1.0, 2.0], lambda: x != [1.0, 2.0], lambda: x != (1.0, 2.0)):
        with pytest.raises(DTypeError, match=r"(list|tuple) cannot stand beside a tensor"):
            call()
    assert (x == None, x == "a", x != {}) == (False, False, True)  # noqa: E711


def test_a_batch_that_a_module_keeps_is_no_parameter() -> None:
    """`self.x = x` for a saliency map is none that would be lost; a tensor of the module's own would be."""

    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer, self.kept = nn.Linear(3, 1), []

        def forward(self, x: Any) -> Any:
            self.x = x.requires_grad_()
            self.kept.append(x)
            return self.layer(x)

    net, x = Net(), tgs.ones(2, 3)
    net(x).sum().backward()
    assert net.x.grad.shape == (2, 3)
    assert len(list(net.parameters())) == 2
    assert len(net.state_dict()) == 2
    twin = copy.deepcopy(net)
    assert len(list(twin.layer.parameters())) == 2
    net.lost = tgs.ones(3, requires_grad=True)
    with pytest.raises(DTypeError, match="'lost' wants a gradient, but would be neither learnt nor saved"):
        list(net.parameters())


def test_a_module_that_holds_itself_is_shown_and_applied_to() -> None:
    """`self.root = self` ends: parameters, repr, summary, apply."""
    net = nn.Module()
    net.layer, net.root = nn.Linear(2, 2), net
    assert "root: the module itself" in repr(net)
    seen: list[Any] = []
    net.apply(seen.append)
    assert seen == [net.layer, net]
    assert net.count() == 6
    assert "Linear" in net.summary()


def test_asking_for_what_is_not_there_is_quick() -> None:
    """The text with names nearby is made when it is read: `hasattr(t, name)` looks nothing up."""
    asked = []

    def names() -> list[str]:
        asked.append(1)
        return ["sigmoid"]

    error = missing("a Tensor", "sigmoyd", names)
    assert not asked
    assert str(error) == (
        "a Tensor has no attribute 'sigmoyd'.\n  near it: sigmoid.\n"
        "  docs/from_pytorch.md says what stands for PyTorch's names."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert not hasattr(tgs.ones(1), "sigmoyd")
    assert getattr(nn.Parameter([1.0]), "successor", 0) is None
