"""`Optimizer`: parameter groups, state by parameter, saving. An update rule is Tensor maths and one assignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_seq.arguments import flag, real, sequence
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.inplace import take_array
from tinygrad_seq.engine.node import recording
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.errors import ArgumentError, CheckpointError, GraphError, describe_shape
from tinygrad_seq.optim.buffers import cut_up, gathered, parameters_of, spans

Group = dict[str, Any]
_SPENT = "expected at least one. A generator, as of model.parameters(), can be gone through only once."
STEP = "step"  # the entry of a state that counts the updates; all others have the parameter's shape


class Optimizer:
    """Updates parameters from their gradients. A subclass gives `update`; the names are PyTorch's.

    `params` is an iterable of tensors, or of dicts with `params` and settings of their own (groups).
    `param_groups` is a list of dicts; a schedule changes `group["lr"]`. `state[p]` holds tensors by name.

    Where `elementwise` is true, `update` is called once for all parameters of a group that have the same dtype
    and number of steps, joined into one long tensor: each element must depend on the same element of gradient
    and moments only, whatever the shape. `state["step"]` is then the one number; all else in `state` has the
    shape of the parameter. The class that defines `update` must set it: a subclass with an `update` of its
    own is called once for each parameter, unless it sets `elementwise` too.
    """

    elementwise = False

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "update" in vars(cls) and "elementwise" not in vars(cls):
            cls.elementwise = False

    def __init__(self, params: Iterable[Any], defaults: Group):
        params = parameters_of(type(self).__name__, params)
        groups: list[Any] = list(params)
        if not groups:
            rule = _SPENT if isinstance(params, Iterator) else "expected at least one."
            raise ArgumentError(f"{type(self).__name__}: no parameters given", None, rule)
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with settings of their own."""
        if "params" not in group:
            raise ArgumentError(f"{type(self).__name__}: a group has no 'params'", {"group": dict(group)})
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            rule = f"expected some of {', '.join(self.defaults)}."
            what = f"{type(self).__name__}: no such setting: {', '.join(sorted(unknown))}"
            raise ArgumentError(what, None, rule)
        params = list(parameters_of(type(self).__name__, group["params"]))
        if not params and isinstance(group["params"], Iterator):
            rule = (
                "expected at least one. A generator, as of model.parameters(), can be gone through only once."
            )
            raise ArgumentError(f"{type(self).__name__}: a group has no parameters", None, rule)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise ArgumentError(f"{type(self).__name__}: only leaf tensors are learnt", {"params": p})
            if id(p) in known:
                raise ArgumentError(f"{type(self).__name__}: a parameter stands in two groups", {"p": p})
            known.add(id(p))
        merged = {**self.defaults, **group, "params": params}
        self.param_groups.append(_checked(type(self).__name__, merged))

    def update(self, p: Tensor, g: Tensor, state: dict[str, Tensor], group: Group) -> Tensor:
        """The parameter's new value; moments are kept in `state`."""
        raise TypeError(f"{type(self).__name__} defines no update().")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what `closure`, called first, has returned."""
        loss = None
        if closure is not None:
            with recording(True):
                loss = closure()
        self._refuse_replaced()
        with recording(False):
            learnt = [[p for p in group["params"] if p.grad is not None] for group in self.param_groups]
            for group, params in zip(self.param_groups, learnt, strict=True):
                if self.elementwise:
                    for members in self._alike(params):
                        self._update_as_one(members, group)
                else:
                    for p in params:
                        p.assign(self.update(p, p.grad, self.state.setdefault(p, {}), group))
        return loss

    def _refuse_replaced(self) -> None:
        """Raise where a module's parameter has been replaced by one that this optimiser does not have."""
        params = [p for group in self.param_groups for p in group["params"]]
        for p in params:
            ref = getattr(p, "successor", None)
            new = None if ref is None else ref()
            if new is not None and not any(new is known for known in params):
                rule = "its module has another one in its place, which would never be learnt."
                hint = "Make the optimiser after the model is complete, or add_param_group() the new one."
                named = {"old": p, "new": new}
                raise GraphError("step: a parameter has been replaced", named, rule, hint)

    def _alike(self, params: Iterable[Tensor]) -> Iterable[list[Tensor]]:
        """The parameters that one update can take together: of equal dtypes, moments and number of steps."""
        found: dict[Any, list[Tensor]] = {}
        for p in params:
            # Dtypes by identity, which is fast. Equal dtypes that are two objects are updated in two calls,
            # with the same result.
            key: list[Any] = [id(p.array.dtype), id(p.grad.array.dtype)]  # type: ignore[union-attr]
            for name, value in self.state.setdefault(p, {}).items():
                key += name, (float(value.array) if name == STEP else id(value.array.dtype))
            found.setdefault(tuple(key), []).append(p)
        return found.values()

    def _update_as_one(self, members: list[Tensor], group: Group) -> None:
        """One update of parameters joined into one array; the new values are views of the result.

        A parameter gets a new array, as by `assign`: a tape that holds the old one stays valid.
        """
        states = [self.state[p] for p in members]
        state = {
            name: value if name == STEP else wrap(gathered([s[name].array for s in states]))
            for name, value in states[0].items()
        }
        arrays = [p.array for p in members]
        g = wrap(gathered([p.grad.array for p in members]))  # type: ignore[union-attr]
        new = self.update(wrap(gathered(arrays)), g, state, group).to(arrays[0].dtype)
        places = spans(arrays)
        for p, view in zip(members, cut_up(new.array, places), strict=True):
            take_array(p, view)
        for name, value in state.items():
            if name == STEP:
                for s in states:
                    s[name] = value
            else:
                for s, view in zip(states, cut_up(value.array, places), strict=True):
                    s[name] = wrap(view)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or to zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else wrap(np.zeros(p.shape, p.dtype))

    def state_dict(self) -> dict[str, Any]:
        """Settings and moments, parameters by their number: arrays and plain values only."""
        numbers = {p: i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [numbers[p] for p in g["params"]]} for g in self.param_groups]
        state = {numbers[p]: {k: v.array.copy() for k, v in s.items()} for p, s in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from a saved state of the same groups."""
        if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
            rule = "expected what state_dict() of an optimiser gives: a dict with 'state' and 'param_groups'."
            raise CheckpointError("load_state_dict: no state of an optimiser", {"state": saved}, rule)
        sizes = [len(g["params"]) for g in self.param_groups]
        theirs = [len(g["params"]) for g in saved["param_groups"]]
        if sizes != theirs:
            rule = f"expected groups of {sizes} parameters, got {theirs}."
            raise CheckpointError("load_state_dict: the groups differ", None, rule)
        for group, other in zip(self.param_groups, saved["param_groups"], strict=True):
            unknown = set(other) - set(group)
            if unknown:
                rule = f"expected some of {', '.join(self.defaults)}."
                what = f"load_state_dict: no settings of {type(self).__name__}: {', '.join(sorted(unknown))}"
                raise CheckpointError(what, None, rule)
        params = [p for g in self.param_groups for p in g["params"]]
        for i, entries in saved["state"].items():
            if not 0 <= int(i) < len(params):
                rule = f"expected numbers from 0 to {len(params) - 1}, got {i}."
                raise CheckpointError("load_state_dict: no such parameter", None, rule)
            for name, value in entries.items():
                if np.ndim(value) and np.shape(value) != params[int(i)].shape:
                    theirs_shape = describe_shape(np.shape(value))
                    rule = f"expected {describe_shape(params[int(i)].shape)}, got {theirs_shape}."
                    raise CheckpointError(f"load_state_dict: {name} of parameter {i} differs", None, rule)
        for group, theirs_group in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update({k: v for k, v in theirs_group.items() if k != "params"})
        self.state = {
            params[int(i)]: {k: wrap(np.array(v)) for k, v in entries.items()}
            for i, entries in saved["state"].items()
        }

    def __repr__(self) -> str:
        rows = [
            f"  {len(g['params'])} parameters: "
            + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params")
            for g in self.param_groups
        ]
        return "\n".join([type(self).__name__, *rows])


def required(call: str, **numbers: Any) -> None:
    """Each setting must be a number of at least 0, and a beta below 1."""
    for name, value in numbers.items():
        below_one = name.startswith("beta")
        number = real(call, name, value)
        if not number >= 0.0 or (below_one and number >= 1.0):
            rule = (
                f"expected {name} "
                + ("from 0 to below 1" if below_one else "of at least 0")
                + f", got {value}."
            )
            raise ArgumentError(f"{call}: {name} out of range", None, rule)


_NUMBERS = ("lr", "eps", "weight_decay", "momentum", "alpha", "lr_decay", "initial_accumulator_value")
_FLAGS = ("nesterov", "amsgrad", "centered")


def _checked(call: str, group: Group) -> Group:
    """A group whose settings, of which it may bring its own, are within their bounds."""
    required(call, **{name: group[name] for name in _NUMBERS if name in group})
    for name in _FLAGS:
        if name in group:
            flag(call, name, group[name])
    if "betas" in group:
        betas = sequence(call, "betas", group["betas"])
        if len(betas) != 2:
            raise ArgumentError(f"{call}: betas are two numbers", {"betas": betas})
        required(call, beta1=betas[0], beta2=betas[1])
        group["betas"] = tuple(betas)
    return group


answer(globals())
