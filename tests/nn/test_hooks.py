"""Hooks of modules and of time steps: what they see and change, in which order, and what they leave behind."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import nn
from tinygrad_seq.analysis.probe import attention_of, states_of
from tinygrad_seq.engine.handles import RemovableHandle
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.place import Place
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, DTypeError, ShapeError
from tinygrad_seq.models import GPT, CharLM
from tinygrad_seq.nn import Identity, Linear, Module, Sequential, unroll
from tinygrad_seq.sampling.stepper import Stepper

pytestmark = pytest.mark.engine


class Scaled(Module):
    """y = k x, which can be told to fail."""

    fails = False

    def forward(self, x: Any, *, k: float = 1.0) -> Any:
        """K times x."""
        if self.fails:
            raise ValueError("forward failed")
        return x * k


def noting(seen: list[Any], mark: Any) -> Callable[..., None]:
    """A hook that notes that it was called."""

    def hook(*_: Any) -> None:
        seen.append(mark)

    return hook


def test_hooks_see_what_passes() -> None:
    """The module, its arguments as a tuple, and the output; keywords where they are asked for."""
    one, seen = Scaled(), []
    one.register_forward_pre_hook(lambda *given: seen.append(given))
    one.register_forward_pre_hook(lambda *given: seen.append(given), with_kwargs=True)
    one.register_forward_hook(lambda *given: seen.append(given))
    one.register_forward_hook(lambda *given: seen.append(given), with_kwargs=True)
    assert one(3.0, k=2.0) == 6.0
    assert seen == [
        (one, (3.0,)),
        (one, (3.0,), {"k": 2.0}),
        (one, (3.0,), 6.0),
        (one, (3.0,), {"k": 2.0}, 6.0),
    ]


def test_what_a_hook_returns_takes_the_place() -> None:
    """Of the arguments before, one of them or all, of the output after; None leaves it, False does not."""
    one = Scaled()
    with one.register_forward_pre_hook(lambda m, args: args[0] + 1):
        assert one(3.0) == 4.0
        with one.register_forward_pre_hook(lambda m, args: (args[0] * 10,)):
            assert one(3.0) == 40.0
    with one.register_forward_pre_hook(lambda m, args, kw: (args, {"k": 5.0}), with_kwargs=True):
        assert one(3.0) == 15.0
    with one.register_forward_hook(lambda m, args, out: out + 1):
        with one.register_forward_hook(lambda m, args, out: out * 10):
            assert one(3.0) == 40.0
        with one.register_forward_hook(lambda m, args, kw, out: kw["k"], with_kwargs=True):
            assert one(3.0, k=7.0) == 7.0
    with one.register_forward_hook(lambda m, args, out: False):
        assert one(3.0) is False
    assert one(3.0) == 3.0


def test_hooks_in_order() -> None:
    """As they were registered; `prepend` goes before those that are there; one function may be there twice."""
    one, seen = Scaled(), []
    for name in "ab":
        one.register_forward_hook(noting(seen, name))
        one.register_forward_pre_hook(noting(seen, f"before {name}"))
    one.register_forward_hook(noting(seen, "first"), prepend=True)
    one.register_forward_pre_hook(noting(seen, "before all"), prepend=True)
    twice = noting(seen, "twice")
    handles = [one.register_forward_hook(twice) for _ in range(2)]
    one(1.0)
    assert seen == ["before all", "before a", "before b", "first", "a", "b", "twice", "twice"]
    handles[0].remove()
    handles[0].remove()
    seen.clear()
    one(1.0)
    assert seen == ["before all", "before a", "before b", "first", "a", "b", "twice"]


def test_nested_hooks() -> None:
    """Of a module in a module, from the outside in and back; a hook may call the module again."""
    model, seen = Sequential(Scaled(), Scaled()), []
    for name, one in model.named_modules():
        one.register_forward_pre_hook(noting(seen, f"> {name}"))
        one.register_forward_hook(noting(seen, f"< {name}"))
    model(1.0)
    assert seen == ["> ", "> 0", "< 0", "> 1", "< 1", "< "]
    one, depth = Scaled(), []

    def again(module: Any, args: Any, out: Any) -> Any:
        if len(depth) < 2:
            depth.append(1)
            return module(out * 10)
        return None

    one.register_forward_hook(again)
    assert one(1.0) == 100.0


def test_a_hook_removed_while_it_runs() -> None:
    """Itself or another, as in PyTorch: the others of the same call are all called, and it is not called again."""
    one, seen = Scaled(), []
    handles: list[RemovableHandle] = []

    def once(*_: Any) -> None:
        seen.append("once")
        for handle in handles:
            handle.remove()

    handles.append(one.register_forward_hook(once))
    handles.append(one.register_forward_hook(noting(seen, "second")))
    one.register_forward_hook(noting(seen, "last"))
    one(1.0)
    one(1.0)
    assert seen == ["once", "second", "last", "last"]
    seen.clear()
    one.register_forward_pre_hook(lambda m, a: m.register_forward_hook(noting(seen, "new")).id and None)
    one(1.0)
    assert seen == ["last", "new"]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_hook_that_raises(where: str) -> None:
    """What it raises comes through; place, recording and training are as before, and the next call is as ever."""
    model = Sequential(Linear(2, 2, rng=Generator(0)), Linear(2, 2, rng=Generator(1)))
    expected = model(tgs.ones(1, 2)).tolist()

    def fail(*_: Any) -> None:
        raise RuntimeError("the hook failed")

    register = model[1].register_forward_pre_hook if where == "before" else model[1].register_forward_hook
    with register(fail), tgs.no_grad(), pytest.raises(RuntimeError, match=r"^the hook failed$"):
        model(tgs.ones(1, 2))
    assert STATE.place == Place()
    assert STATE.recording
    assert model(tgs.ones(1, 2)).tolist() == expected


def test_a_hook_that_is_always_called() -> None:
    """Where forward or a hook before it raised: with None as output, once; what it raises itself is a note."""
    one, seen = Scaled(), []
    one.register_forward_hook(lambda m, a, out: seen.append(out), always_call=True)
    one.register_forward_hook(lambda m, a, out: seen.append("not this"))
    one.fails = True
    with pytest.raises(ValueError, match="forward failed"):
        one(1.0)
    assert seen == [None]
    one.register_forward_pre_hook(lambda m, a: 1 / 0)

    def fails_too(m: Any, a: Any, out: Any) -> None:
        raise KeyError("second")

    one.register_forward_hook(fails_too, always_call=True)
    with pytest.raises(ZeroDivisionError) as caught:
        one(1.0)
    assert seen == [None, None]
    assert caught.value.__notes__ == ["A hook with always_call raised as well: KeyError('second')"]


def test_handles_end_with_their_block() -> None:
    """Also where an error ends it; and a handle does not keep its module alive."""
    one, seen = Scaled(), []
    handle = one.register_forward_hook(noting(seen, 1))
    with pytest.raises(TypeError), handle:
        one(None, k=1.0)
    assert not one.has_hooks
    with one.register_forward_hook(noting(seen, 1)):
        one(1.0)
    one(1.0)
    assert seen == [1]
    handle.remove()
    alive, kept = weakref.ref(one), one.register_forward_hook(noting(seen, 2))
    del one
    gc.collect()
    assert alive() is None
    kept.remove()


def test_bad_hooks_are_refused() -> None:
    """What cannot be called, flags that are none, and a pre-hook that returns something else."""
    one: Any = tgs.LSTM(2, 3)
    for register in (
        one.register_forward_hook,
        one.register_forward_pre_hook,
        one.register_step_hook,
        tgs.ones(2, requires_grad=True).register_hook,
    ):
        with pytest.raises(ArgumentError) as caught:
            register(3)
        assert str(caught.value) == (
            f"{register.__name__}: a hook must be callable.\n  hook: 3\n  expected a function."
        )
    with pytest.raises(DTypeError) as wrong:
        one.register_forward_hook(print, prepend="yes")
    assert str(wrong.value) == (
        "register_forward_hook: prepend is no flag.\n  prepend: 'yes'\n  expected True or False."
    )
    other = Scaled()
    other.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
    with pytest.raises(DTypeError) as wrong:
        other(1.0)
    assert str(wrong.value) == (
        "register_forward_pre_hook: a hook of Scaled returned something else.\n  returned: 'tuple'\n"
        "  expected None or a pair (args, kwargs): a tuple and a dict."
    )


class Keeping(Module):
    """Registers a method of its own as a hook."""

    def __init__(self) -> None:
        self.inner = Linear(2, 2, rng=Generator(0))
        self.seen = 0
        self.inner.register_forward_hook(self._saw)

    def _saw(self, *_: Any) -> None:
        self.seen += 1

    def forward(self, x: Any) -> Any:
        """What the inner layer gives."""
        return self.inner(x)


def test_hooks_are_neither_saved_nor_taken_for_parts() -> None:
    """Not in state_dict, parameters, modules or repr, whatever they close over."""
    one, other = Linear(2, 2), Linear(2, 2)
    before = repr(one), list(one.state_dict()), one.summary()
    one.register_forward_hook(lambda m, a, out: other(out))
    one.register_forward_pre_hook(lambda m, a: other and None)
    assert (repr(one), list(one.state_dict()), one.summary()) == before
    assert [id(p) for p in one.parameters()] == [id(one.weight), id(one.bias)]
    assert list(one.modules()) == [one]
    assert one.load_state_dict(other.state_dict()) == ([], [])


def test_a_copy_has_hooks_of_its_own() -> None:
    """A deep copy's bound hook is the copy's; what is added to or removed from one is not of the other."""
    one = Keeping()
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        twin(tgs.ones(1, 2))
        assert (one.seen, twin.seen) == (0, 1)
    first, seen = Scaled(), []
    handle = first.register_forward_hook(noting(seen, "kept"))
    twins = [copy.copy(first), copy.deepcopy(first)]
    handle.remove()
    first.register_forward_hook(noting(seen, "first"))
    twins[0].register_forward_hook(noting(seen, "shallow"))
    for one_of_them in (first, *twins):
        one_of_them(1.0)
    assert seen == ["first", "kept", "shallow", "kept"]


def test_gradients_go_through_what_a_hook_returns() -> None:
    """It is on the tape as any op is."""
    layer = Linear(2, 1, bias=False, rng=Generator(0))
    layer.register_forward_hook(lambda m, a, out: out * 3.0)
    x = tgs.ones(1, 2, requires_grad=True)
    np.testing.assert_allclose(tgs.grad(layer(x).sum(), x).numpy(), 3.0 * layer.weight.numpy())


def test_every_layer_inside_a_layer_calls_its_hooks() -> None:
    """No layer reaches past another's call to its weights, with kernels of its own or not."""
    encoder = nn.TransformerEncoderLayer(4, 2, 8, activation="gelu", rng=Generator(0))
    decoder = nn.TransformerDecoderLayer(4, 2, 8, activation="relu", rng=Generator(0))
    gpt = GPT(5, block=4, layers=2, heads=2, width=4, rng=Generator(0))
    lm = CharLM(5, 4, rng=Generator(0))
    x, ids = tgs.ones(3, 1, 4), np.array([[0], [1]])
    for model, args in ((encoder, (x,)), (decoder, (x, x)), (gpt, (ids,)), (lm, (ids,))):
        seen: list[str] = []
        for name, one in model.named_modules():
            if list(one.parameters()):
                one.register_forward_hook(noting(seen, name))
        whole = model.eval()(*args)
        assert set(seen) == {name for name, one in model.named_modules() if list(one.parameters())}
        for one in model.modules():
            vars(one).pop("_hooked", None)
        plain = model(*args)
        pair = [r[0] if isinstance(r, tuple) else r for r in (whole, plain)]
        np.testing.assert_allclose(pair[0].numpy(), pair[1].numpy(), rtol=1e-6, atol=1e-7)


def test_sampling_calls_hooks_at_every_step() -> None:
    """Steps that were recorded give way to the model while it has hooks, also those registered later."""
    model = CharLM(5, 4, rng=Generator(0))
    stepper, seen = Stepper(model), []

    def last() -> list[float]:
        logits, at = stepper.start(np.array([0, 1]))
        for symbol in (2, 3, 4, 0):
            logits, at = stepper.step(symbol, at)
        return logits.tolist()

    plain = last()
    with model.head.register_forward_hook(noting(seen, 1)):
        np.testing.assert_allclose(last(), plain, rtol=1e-5, atol=1e-6)
    assert len(seen) == 6
    with model.head.register_forward_hook(lambda m, a, out: out * 0.0):
        assert last() == [0.0] * 5
    with model.lstm.register_step_hook(noting(seen, 2)):
        last()
    assert seen.count(2) == 6
    assert last() == plain


# ---- time steps --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", [tgs.RNN, tgs.GRU, tgs.LSTM])
def test_step_hooks_see_every_state(kind: Any) -> None:
    """Of all layers and both directions, in the order of time, equal to the trace."""
    net, seen = kind(2, 3, num_layers=2, bidirectional=True, rng=Generator(0)), {}
    x = Generator(1).randn(4, 2, 2)
    plain = net(x, return_trace=True)
    with net.register_step_hook(lambda m, layer, t, state: seen.setdefault(layer, []).append((t, state))):
        hooked = net(x, return_trace=True)
    assert list(seen) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for layer, steps in seen.items():
        assert [t for t, _ in steps] == ([3, 2, 1, 0] if "reverse" in layer else [0, 1, 2, 3])
        for t, state in steps:
            for name, part in zip("hc", state, strict=False):
                np.testing.assert_array_equal(part.numpy(), plain[2][f"{name}_{layer}"].numpy()[t])
    np.testing.assert_array_equal(hooked[0].numpy(), plain[0].numpy())
    assert net(x)[0].tolist() == plain[0].tolist()
    assert len(seen["l0"]) == 4


def test_a_step_hook_s_state_goes_on() -> None:
    """A state set to zero after step 1 makes steps 2 and 3 what they are from a fresh start."""
    net, x = tgs.LSTM(2, 3, rng=Generator(0)), Generator(1).randn(4, 2, 2)

    def forget(m: Any, layer: str, t: int, state: Any) -> Any:
        return tuple(s * 0.0 for s in state) if t == 1 else None

    with net.register_step_hook(forget):
        out, _ = net(x)
    np.testing.assert_array_equal(out[:2].numpy(), net(x)[0][:2].numpy())
    np.testing.assert_array_equal(out[2:].numpy(), net(x[2:])[0].numpy())
    with net.register_step_hook(lambda m, layer, t, state: (state[0],)), pytest.raises(ShapeError) as caught:
        net(x)
    assert str(caught.value).startswith("step_hook: the state changes its form.\n")
    with (
        net.register_step_hook(lambda m, layer, t, state: (state[0][:1], state[1])),
        pytest.raises(ShapeError) as caught,
    ):
        net(x)
    assert str(caught.value).startswith("step_hook: it returned another shape.\n")
    assert STATE.place == Place()


def test_the_step_hook_of_unroll() -> None:
    """With a function, a cell, lengths and in reverse: it sees what goes on, and what it returns goes on."""
    xs = tgs.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    total = lambda x, s: (s + x, s + x)  # noqa: E731
    seen: list[Any] = []
    unroll(total, xs, tgs.zeros(2), lengths=[3, 1], step_hook=lambda t, s: seen.append((t, s.tolist())))
    assert seen == [(0, [1.0, 10.0]), (1, [3.0, 10.0]), (2, [6.0, 10.0])]
    seen.clear()
    unroll(total, xs, tgs.zeros(2), reverse=True, step_hook=lambda t, s: seen.append(t))
    assert seen == [2, 1, 0]
    outs, last = unroll(total, xs, tgs.zeros(2), step_hook=lambda t, s: s * 0.0)
    assert outs.tolist() == xs.tolist()
    assert last.tolist() == [0.0, 0.0]
    cell, x = nn.LSTMCell(2, 3, rng=Generator(0)), Generator(1).randn(4, 2, 2)
    kept: list[Any] = []
    outs, _ = unroll(cell, x, step_hook=lambda t, s: kept.append(s[0].numpy()))
    np.testing.assert_array_equal(np.stack(kept), outs.numpy())


def test_a_cell_s_hooks_are_called_in_unroll() -> None:
    """Each step; what they return goes on. With a trace the two are refused together."""
    for kind in (nn.RNNCell, nn.GRUCell, nn.LSTMCell):
        cell, x, seen = kind(2, 3, rng=Generator(0)), Generator(1).randn(4, 2, 2), []
        plain, last = unroll(cell, x)
        with cell.register_forward_hook(noting(seen, 1)):
            outs, end = unroll(cell, x)
            with pytest.raises(ArgumentError) as caught:
                unroll(cell, x, return_trace=True)
        assert str(caught.value) == (
            "unroll: return_trace beside the cell's hooks.\n"
            "  expected a cell without forward hooks; unroll's step_hook= does not stand in the way."
        )
        assert len(seen) == 4
        np.testing.assert_allclose(outs.numpy(), plain.numpy(), rtol=1e-6)
        assert type(end) is type(last)
    cell.register_forward_hook(lambda m, a, out: tuple(s * 0.0 for s in out))
    assert not unroll(cell, x)[0].numpy().any()


def test_watching_leaves_nothing_behind() -> None:
    """The readers watch by hooks: inside, no attribute of a module is another, and afterwards no hook is left."""
    lm, gpt = CharLM(5, 4, 2, rng=Generator(0)), GPT(5, block=4, layers=2, heads=2, width=4, rng=Generator(0))
    ids = np.array([[0], [1]])
    for model, watch in ((lm, states_of), (gpt, attention_of)):
        before = [{k: v for k, v in vars(m).items() if k != "_given"} for m in model.modules()]
        inside: list[Any] = []

        def fail(model: Any = model, inside: list[Any] = inside) -> None:
            model(ids)
            inside.extend(vars(m).keys() - {"_given", "_hooked"} for m in model.modules())
            raise KeyError

        with pytest.raises(KeyError), watch(model):
            fail()
        assert inside == [b.keys() for b in before]
        for old, m in zip(before, model.modules(), strict=True):
            assert all(vars(m)[k] is v for k, v in old.items())
            assert not m.has_hooks


def test_attention_is_watched_by_two_at_once() -> None:
    """Each sees all heads, and the caller gets what it asked for."""
    one = nn.MultiheadAttention(4, 2, rng=Generator(0))
    x = Generator(1).randn(3, 1, 4)
    plain = one(x)[1].numpy()
    with attention_of(one) as first, attention_of(one) as second:
        np.testing.assert_array_equal(one(x)[1].numpy(), plain)
        assert one(x, need_weights=False)[1] is None
        assert one(x, average_attn_weights=False)[1].shape == (1, 2, 3, 3)
    for seen in (first, second):
        assert [a.weights.shape for a in seen[""]] == [(1, 2, 3, 3)] * 3


def test_no_hooks_cost_nothing() -> None:
    """A module that never had a hook keeps nothing for them, and a call asks one attribute."""
    one = Identity()
    one(1)
    assert "_hooked" not in vars(one)
    assert not [name for name in vars(one) if "hook" in name]
