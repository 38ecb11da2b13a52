"""Nothing is lost without a word: where modules find parameters, and what is refused elsewhere."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import ArgumentError, CheckpointError, DTypeError, Tensor, optim
from tinygrad_seq.nn import Linear, Module, Parameter

pytestmark = pytest.mark.engine


def text_of(error: type[Exception], call: Callable[[], object]) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


def linear() -> Linear:
    """A layer of one weight."""
    return Linear(1, 1, bias=False)


class Pair(NamedTuple):
    """Two layers."""

    left: Any
    right: Any


@dataclasses.dataclass
class Parts:
    """A layer and a number."""

    layer: Any
    size: int = 3


WALKED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "list of lists": (lambda: [[linear()], [linear(), linear()]], ["0.0.weight", "1.0.weight", "1.1.weight"]),
    "list of pairs": (lambda: [("a", linear()), ("b", linear())], ["0.1.weight", "1.1.weight"]),
    "dict of lists": (lambda: {"x": [linear()], "y": [linear()]}, ["x.0.weight", "y.0.weight"]),
    "tuple of dicts": (lambda: ({"x": linear()}, {2: linear()}), ["0.x.weight", "1.2.weight"]),
    "parameters in dicts of lists": (lambda: {"w": [Parameter([1.0]), Parameter([2.0])]}, ["w.0", "w.1"]),
    "named tuple": (lambda: Pair(linear(), [linear()]), ["0.weight", "1.0.weight"]),
    "deque": (lambda: collections.deque([linear()]), ["0.weight"]),
    "UserList": (lambda: collections.UserList([linear()]), ["0.weight"]),
    "mapping": (lambda: types.MappingProxyType({"x": linear()}), ["x.weight"]),
    "OrderedDict": (lambda: collections.OrderedDict(b=linear(), a=linear()), ["b.weight", "a.weight"]),
    "dataclass": (lambda: Parts(linear()), ["layer.weight"]),
    "five deep": (lambda: [[[[[linear()]]]]], ["0.0.0.0.0.weight"]),
}


@pytest.mark.parametrize("name", WALKED)
def test_any_nest_is_walked(name: str) -> None:
    """Named, learnt, saved, frozen, put to eval and to float64, and its gradient forgotten."""
    make, names = WALKED[name]
    net, other = Module(), Module()
    net.parts, other.parts = make(), make()
    names = [f"parts.{n}" for n in names]
    assert [n for n, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == names
    other.load_state_dict(net.state_dict())
    assert [p.tolist() for p in other.parameters()] == [p.tolist() for p in net.parameters()]
    before = [p.item() for p in net.parameters()]
    sum((p * 2.0).sum() for p in net.parameters()).backward()
    optim.SGD(net.parameters(), lr=0.5).step()
    np.testing.assert_allclose([p.item() for p in net.parameters()], np.array(before) - 1.0, rtol=1e-6)
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.eval().requires_grad_(False).double()
    assert all(not m.training for m in net.modules())
    assert all(not p.requires_grad and p.dtype == np.float64 for p in net.parameters())
    assert net.count() == len(names)


def test_a_list_that_holds_itself_and_modules_that_hold_each_other() -> None:
    """Each parameter once, and an end."""
    net = Module()
    net.parts = [linear()]
    net.parts.append(net.parts)
    net.child = linear()
    net.child.parent = net
    assert [n for n, _ in net.named_parameters()] == ["parts.0.weight", "child.weight"]
    assert len(list(net.modules())) == 3
    assert net.count() == 2


class Holder:
    """An object that is no module."""

    def __init__(self, layer: Any):
        self.layer = layer


class Slotted:
    """The same with slots."""

    __slots__ = ("layer",)

    def __init__(self, layer: Any):
        self.layer = layer


def array_of_objects() -> Any:
    """A NumPy array with a layer in it."""
    array = np.empty(1, object)
    array[0] = linear()
    return array


def closing(layer: Any) -> Any:
    """A function that knows a layer."""
    return lambda x: layer(x)


HIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "set": (lambda: {linear()}, "a set"),
    "frozenset in a list": (lambda: [frozenset([linear()])], "a frozenset"),
    "partial": (lambda: functools.partial(linear(), 1), "a functools.partial"),
    "closure": (lambda: closing(linear()), "a function"),
    "default": (lambda: lambda x, layer=linear(): layer(x), "a function"),  # noqa: B008
    "method": (lambda: linear().forward, "a method"),
    "object": (lambda: Holder(linear()), "an object of class Holder"),
    "object in an object": (lambda: Holder(Holder([linear()])), "an object of class Holder"),
    "slots": (lambda: Slotted(linear()), "an object of class Slotted"),
    "view": (lambda: {"a": linear()}.values(), "a view of a dict"),
    "array": (array_of_objects, "an array of objects"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_not_walked_is_refused(name: str) -> None:
    """When parameters are asked for, loaded or saved; a module that stands elsewhere too is no loss."""
    make, holder = HIDDEN[name]
    net = Module()
    net.part = make()
    path = "part.0" if name == "frozenset in a list" else "part"
    text = (
        f"Module: the module (Linear) in '{path}' would be neither learnt nor saved.\n  it stands in {holder}.\n"
        "  expected it in an attribute, or in lists, tuples and dicts of one."
    )
    for call in (lambda: list(net.parameters()), net.state_dict, lambda: net.load_state_dict({})):
        assert text_of(DTypeError, call) == text
    net.known = linear()
    net.part = closing(net.known)
    assert [n for n, _ in net.named_parameters()] == ["known.weight"]


def test_a_parameter_in_a_set_and_one_in_a_method_are_refused_too() -> None:
    """The text says parameter; a method that brings a layer along is found by its class."""
    net = Module()
    net.part = {Parameter([1.0])}
    assert "the parameter in 'part' would be neither" in text_of(DTypeError, net.state_dict)
    layer = linear()

    class Net(Module):
        def forward(self, x: Any) -> Any:
            return layer(x)

    assert "the module (Linear) in 'forward' would be neither" in text_of(DTypeError, Net().state_dict)


def test_generators_slots_and_class_attributes_are_refused_at_once() -> None:
    """Where they are set."""
    net = Module()
    for value, kind in (
        ((linear() for _ in range(2)), "generator"),
        (map(Linear, [1], [1]), "map"),
        (iter([linear()]), "list_iterator"),
        (itertools.chain([linear()]), "chain"),
    ):
        assert text_of(DTypeError, lambda value=value: setattr(net, "layers", value)) == (
            f"Module.layers: cannot be looked through twice.\n  expected a list or a tuple, got a {kind}.\n"
            "  Write self.layers = list(...)."
        )

    class WithSlot(Module):
        __slots__ = ("layer",)

    assert text_of(DTypeError, lambda: setattr(WithSlot(), "layer", linear())) == (
        "WithSlot.layer: a slot is not looked through.\n  expected no __slots__ for parameters and modules."
    )
    for value, kind in ((linear(), "Linear"), ([Parameter([1.0])], "Parameter")):
        path = "layer.0" if kind == "Parameter" else "layer"
        assert text_of(DTypeError, lambda value=value: type("Net", (Module,), {"layer": value})) == (
            f"Net.{path}: a {kind} of the class would be shared by all its modules.\n"
            "  expected it to be made in __init__, for each module anew."
        )


def test_a_tensor_that_wants_a_gradient_is_no_parameter() -> None:
    """Refused, for it would be neither learnt nor saved; a value that was computed may be kept."""
    net = Module()
    net.first = Parameter([1.0])
    net.last_state = net.first * 2.0
    net.constant = tgs.ones(2)
    assert [n for n, _ in net.named_parameters()] == ["first"]
    for value, path in ((tgs.ones(2, requires_grad=True), "w"), ([tgs.ones(2, requires_grad=True)], "w.0")):
        net.w = value
        assert text_of(DTypeError, lambda: list(net.parameters())) == (
            f"Module: {path!r} wants a gradient, but would be neither learnt nor saved.\n  {path}: f32(2,)\n"
            "  expected a Parameter, or a tensor without gradient.\n"
            f"  Write self.{path.rsplit('.', 1)[-1]} = Parameter(...), or .detach()."
        )


def test_two_parameters_of_one_path_are_refused() -> None:
    """Keys with dots, and keys whose texts are equal."""
    net = Module()
    net.parts = {"a.weight": Parameter([1.0]), "a": linear()}
    assert text_of(ArgumentError, net.state_dict) == (
        "Module: two parameters are called 'parts.a.weight'.\n  first: f32(1,)\n  second: f32(1, 1)\n"
        "  expected paths of their own.\n  Use other names or keys, without dots."
    )
    net.parts = {1: linear(), "1": linear()}
    with pytest.raises(ArgumentError, match=r"two parameters are called 'parts.1.weight'"):
        list(net.parameters())


def test_tied_weights_are_learnt_once_and_saved_twice() -> None:
    """As PyTorch does; two values for one parameter are refused."""
    net = Module()
    net.a, net.b = linear(), linear()
    net.b.weight = net.a.weight
    assert [n for n, _ in net.named_parameters()] == ["a.weight"]
    state = net.state_dict()
    assert list(state) == ["a.weight", "b.weight"]
    state["b.weight"] = state["b.weight"] + 1.0
    assert text_of(CheckpointError, lambda: net.load_state_dict(state)) == (
        "load_state_dict: the weights are not those of this Module.\n"
        "  b.weight: expected the value of a.weight, for they are one parameter"
    )
    net.c = net.a
    assert len(list(net.modules())) == 3
    assert list(net.state_dict()) == ["a.weight", "b.weight", "c.weight"]


class Before(Module):
    """Sets a layer before `super().__init__()`, which Module does not need."""

    def __init__(self) -> None:
        self.layer = linear()
        super().__init__()


def test_init_of_module_is_not_needed() -> None:
    """PyTorch refuses a layer that is set before it; here nothing is lost."""
    assert [n for n, _ in Before().named_parameters()] == ["layer.weight"]


# ---- setting parameters ----------------------------------------------------------------------------------
def test_a_parameter_is_not_dropped_by_an_assignment() -> None:
    """Arrays, detached copies, products, numbers and modules are refused, as in PyTorch; the weight stays."""
    layer = Linear(2, 1)
    weight = layer.weight
    hint = "  New values: .assign(x), or .data = x. Another parameter: Parameter(x)."
    for value, shown in (
        (np.ones((1, 2)), "ndarray f64(1, 2)"),
        (weight.detach(), "Tensor f32(1, 2)"),
        (weight * 0.5, "Tensor f32(1, 2)"),
        (0.0, "float"),
        ([[1.0, 2.0]], "list"),
        (linear(), "Linear"),
    ):
        assert text_of(DTypeError, lambda value=value: setattr(layer, "weight", value)) == (
            f"Linear.weight: a parameter would be lost.\n  weight: f32(1, 2)   {weight.origin}\n"
            f"  expected a Parameter or None, got {shown}.\n{hint}"
        )
    assert layer.weight is weight
    layer.weight = new = Parameter(np.ones((1, 2), np.float32))
    assert [id(p) for p in layer.parameters()] == [id(new), id(layer.bias)]
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
    layer.bias = Parameter([1.0])
    del layer.bias
    assert list(layer.state_dict()) == ["weight"]


def test_a_module_or_a_list_of_parameters_is_not_dropped_either() -> None:
    """A module gives way to a module or None, parameters in a list to parameters."""
    net = Module()
    net.layer, net.ws = linear(), [Parameter([1.0]), Parameter([2.0])]
    assert text_of(DTypeError, lambda: setattr(net, "layer", len)) == (
        "Module.layer: a module would be lost.\n"
        "  expected a module or None, got builtin_function_or_method.\n  First: del module.layer."
    )
    assert text_of(DTypeError, lambda: setattr(net, "ws", [w.detach() * 0.5 for w in net.ws])) == (
        "Module.ws: a parameter would be lost.\n  ws.0: f32(1,)   parameter 'ws.0'\n"
        "  expected a Parameter or None, got Tensor f32(1,).\n"
        "  New values: .assign(x), or .data = x. Another parameter: Parameter(x)."
    )
    net.ws, net.layer = [], None
    assert list(net.state_dict()) == []


def test_a_parameter_that_left_its_list_is_noticed() -> None:
    """No assignment to the module is seen then; the next walk says it. Another parameter, or none, is fine."""
    net = Module()
    net.ws, net.by = [Parameter([1.0])], {"a": {"b": [Parameter([2.0])]}}
    net.ws.append(Parameter([3.0]))
    assert len(list(net.parameters())) == 3
    for holder, key, path in ((net.ws, 0, "ws.0"), (net.ws, 1, "ws.1"), (net.by["a"]["b"], 0, "by.a.b.0")):
        kept = holder[key]
        holder[key] = kept.detach() * 0.5
        assert text_of(DTypeError, lambda: list(net.parameters())) == (
            f"Module.{path}: a parameter was lost.\n  expected a Parameter, got Tensor f32(1,).\n"
            "  New values: .assign(x), or .data = x. Another parameter: Parameter(x)."
        )
        holder[key] = Parameter([4.0])
    net.ws.pop()
    assert len(list(net.parameters())) == 2


def test_a_buffer_is_not_dropped() -> None:
    """A tensor or None; arrays and lists would not be saved."""
    net = Module()
    net.register_buffer("mean", tgs.zeros(2))
    net.mean = tgs.ones(2)
    assert net.state_dict()["mean"].tolist() == [1.0, 1.0]
    assert text_of(DTypeError, lambda: setattr(net, "mean", np.ones(2))) == (
        "Module.mean: a buffer would be lost.\n  expected a tensor or None, got ndarray f64(2,).\n  Write tensor(x)."
    )
    net.mean *= 3.0
    assert net.state_dict()["mean"].tolist() == [3.0, 3.0]
    net.mean = None
    assert "mean" not in net.state_dict()


def test_descent_written_out() -> None:
    """`layer.weight -= lr * grad` and `for p in ...: p -= ...`: refused on the tape, in place inside no_grad()."""
    layer, x = Linear(2, 1), tgs.ones(3, 2)
    weight, before = layer.weight, layer.weight.numpy().copy()
    layer(x).sum().backward()

    def descend() -> None:
        layer.weight -= 0.5 * layer.weight.grad

    assert text_of(tgs.GraphError, descend) == (
        f"x -= y: x is a leaf that wants a gradient.\n  x: f32(1, 2)   {weight.origin}\n"
        "  expected a tensor without gradient, or no_grad() around it.\n"
        "  To learn: with no_grad(): x -= y. For a new value: z = x - y."
    )
    np.testing.assert_array_equal(weight.numpy(), before)
    with tgs.no_grad():
        descend()
        for p in layer.parameters():
            p -= 0.5 * p.grad
    assert layer.weight is weight
    assert weight.requires_grad
    assert weight.is_leaf
    np.testing.assert_allclose(weight.numpy(), before - 3.0, rtol=1e-6)
    layer.zero_grad()
    layer(x).sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), [[3.0, 3.0]])
    for p in layer.parameters():
        p.data -= 0.5 * p.grad
    np.testing.assert_allclose(weight.numpy(), before - 4.5, rtol=1e-6)


def test_a_taken_state_does_not_change() -> None:
    """By whatever way the weights do: data, an index, in place, assign, an optimiser."""
    layer = Linear(2, 2)
    state = layer.state_dict()
    kept = {name: t.numpy().copy() for name, t in state.items()}
    layer.weight.data -= 1.0
    layer.weight.data[0] = 7.0
    with tgs.no_grad():
        layer.weight[0] = 5.0
        layer.weight *= 2.0
    layer.bias.data.fill(3.0)
    layer(tgs.ones(1, 2)).sum().backward()
    optim.SGD(layer.parameters(), lr=1.0).step()
    for name, array in kept.items():
        np.testing.assert_array_equal(state[name].numpy(), array)
    state["weight"].data[...] = 0.0
    assert (layer.weight.numpy() != 0.0).all()


def test_values_of_another_shape_or_kind_are_refused() -> None:
    """`data` and `assign` keep shape and dtype, and share no memory with what they were given."""
    w = Parameter([1.0, 2.0])
    for value in (np.ones(3), tgs.ones(1, 2), 1.0):
        with pytest.raises(tgs.ShapeError, match=r"assign: the value does not fit.\n"):
            w.data = value
    with pytest.raises(DTypeError):
        w.data = np.array([1j, 2.0])
    with pytest.raises(DTypeError):
        w.data = ["a", "b"]
    source = tgs.tensor(np.array([3.0, 4.0]))
    w.data = source
    source[0] = 9.0
    assert (w.dtype, w.tolist()) == (np.float32, [3.0, 4.0])
    other = tgs.tensor(np.float32([5.0, 6.0]))
    w.assign(other)
    other.data[0] = 9.0
    assert w.tolist() == [5.0, 6.0]
    assert isinstance(w.detach(), Tensor)
