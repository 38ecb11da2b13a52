"""Methods that write into the tensor's own array, with PyTorch's names: `add_ mul_ zero_ copy_ uniform_ ...`.

They are for tensors that are on no tape: a leaf without a gradient, or any leaf inside `no_grad()`. All else is
refused, because a gradient would be lost. A tape that holds the array notices the change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.arguments import exactly_in, real, sizes_of
from tinygrad_seq.engine.apply import WANTS, Recorded, T, as_tensor
from tinygrad_seq.engine.node import STATE, Node, mark_changed, recording
from tinygrad_seq.engine.random import stream
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ArgumentError, DTypeError, GraphError, ShapeError, describe_shape


def _written(self: T, call: str, *args: Any, **settings: Any) -> T:
    """The array overwritten by what the method `call` gives."""
    checked_writable(f"{call}_", self)
    for t in leaves((args, settings), ignore_others=True):
        if t.mode & WANTS and STATE.recording:
            raise _lost(f"{call}_", self, t)
    with recording(False):
        return _overwritten(self, f"{call}_", getattr(self, call)(*args, **settings))


def _overwritten(self: T, call: str, value: Any) -> T:
    checked_writable(call, self)
    new: Any = as_tensor(exactly_in(value, self.array.dtype), self)
    if new.mode & WANTS and STATE.recording:
        raise _lost(call, self, new)
    array = new.array
    kinds = "biuf"  # the values of each kind come before it
    if kinds.index(array.dtype.kind.replace("u", "i")) > kinds.index(self.array.dtype.kind.replace("i", "u")):
        held = "booleans" if self.array.dtype.kind == "b" else "integers"
        named, rule = {"x": self, "value": new}, f"expected {held}."
        raise DTypeError(f"{call}: x cannot hold the result", named, rule, "Use x.float().")
    try:
        fits = np.broadcast_shapes(array.shape, self.array.shape) == self.array.shape
    except ValueError:
        fits = False
    if not fits:
        named, rule = (
            {"x": self, "value": new},
            f"expected what broadcasts to {describe_shape(self.shape)}.",
        )
        raise ShapeError(f"{call}: the value does not fit", named, rule)
    STATE.run(np.copyto, self.array, array, casting="unsafe")
    mark_changed(self.array)
    return self


def add_(self: T, other: Any, *, alpha: float = 1) -> T:
    """Add alpha times `other`."""
    return _written(self, "add", other, alpha=alpha)


def sub_(self: T, other: Any, *, alpha: float = 1) -> T:
    """Subtract alpha times `other`."""
    return _written(self, "sub", other, alpha=alpha)


def mul_(self: T, other: Any) -> T:
    """Multiply by `other`."""
    return _written(self, "mul", other)


def div_(self: T, other: Any) -> T:
    """Divide by `other`."""
    return _written(self, "div", other)


def pow_(self: T, exponent: Any) -> T:
    """Raise to a power."""
    return _written(self, "pow", exponent)


def neg_(self: T) -> T:
    """Turn the sign."""
    return _written(self, "neg")


def exp_(self: T) -> T:
    """Take the exponential."""
    return _written(self, "exp")


def sqrt_(self: T) -> T:
    """Take the square root."""
    return _written(self, "sqrt")


def relu_(self: T) -> T:
    """Put 0 where it is negative."""
    return _written(self, "relu") if self.array.dtype.kind == "f" else _written(self, "clamp", 0)


def clamp_(self: T, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> T:
    """Hold between bounds."""
    return _written(self, "clamp", low, high, min=min, max=max)


def masked_fill_(self: T, mask: Any, value: Any) -> T:
    """Put `value` where the mask is True."""
    return _written(self, "masked_fill", mask, value)


def zero_(self: T) -> T:
    """Put 0 everywhere."""
    return _overwritten(self, "zero_", 0)


def fill_(self: T, value: Any) -> T:
    """Put one value everywhere."""
    if isinstance(value, (list, tuple)) or np.ndim(value.array if isinstance(value, Recorded) else value):
        raise ShapeError("fill_: expected one number", {"value": value})
    return _overwritten(self, "fill_", value)


def copy_(self: T, source: Any, non_blocking: bool = False) -> T:
    """Take the values of `source`, which broadcast, in this dtype."""
    checked_writable("copy_", self)
    value: Any = source if isinstance(source, Recorded) else self.tensor_type(source)
    return _overwritten(self, "copy_", value.to(self.array.dtype))


def uniform_(self: T, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> T:
    """Draw evenly from `low` to `high`, from `generator` or the stream `init`."""
    low, high = real("uniform_", "low", low), real("uniform_", "high", high)
    if not low <= high:
        rule = f"expected low at most high, got {low} and {high}."
        raise ArgumentError("uniform_: nothing between the bounds", None, rule)
    rng = generator or stream("init")
    return _overwritten(self, "uniform_", rng.uniform(low, high, self.array.shape, _floats(self, "uniform_")))


def normal_(self: T, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> T:
    """Draw from the normal distribution, from `generator` or the stream `init`."""
    mean, std = real("normal_", "mean", mean), real("normal_", "std", std)
    if std < 0:
        raise ArgumentError("normal_: std below 0", {"std": std}, "expected at least 0.")
    rng = generator or stream("init")
    drawn = rng.randn(*self.array.shape, dtype=_floats(self, "normal_"))
    return _overwritten(self, "normal_", drawn * std + mean)


def _floats(self: T, call: str) -> Any:
    if self.array.dtype.kind != "f":
        raise DTypeError(f"{call}: draws are floats", {"x": self}, "expected a floating dtype.")
    return self.array.dtype


# ---- in place by name, without an array of another shape --------------------------------------------
def detach_(self: T) -> T:
    """Cut the tensor off the tape that made it."""
    self.node, self.mode = None, self.mode & ~WANTS
    return self


def resize_(self: T, *sizes: Any) -> T:
    """Refused: a tensor keeps its shape."""
    given = {"x": self, "sizes": sizes_of(sizes)}
    raise ShapeError("resize_: a tensor keeps its shape", given, "", "Use x.reshape(...).")


def _lost(call: str, x: Any, value: Any) -> Exception:
    rule, hint = "expected a value without a gradient.", "Use value.detach(), or no_grad()."
    named = {"x": x, "value": value}
    return GraphError(f"{call}: the gradient of the value would be lost", named, rule, hint)


def checked_writable(call: str, x: Any) -> None:
    """GraphError where writing into the array would make a recorded gradient wrong, or lose one."""
    if isinstance(x.node, Node) or (x.mode & WANTS and STATE.recording):
        rule = "expected a leaf without gradient, or a leaf inside no_grad()."
        hint = f"Use x = x.{call.rstrip('_')}(...), or with tgs.no_grad(): around it."
        raise GraphError(f"{call}: x is on the tape and cannot be written to", {"x": x}, rule, hint)
