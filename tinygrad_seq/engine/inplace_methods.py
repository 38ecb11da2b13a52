"""Methods that write into the tensor's own array, with PyTorch's names: `add_ mul_ zero_ copy_ uniform_ ...`.

They are for tensors that are on no tape: a leaf without a gradient, or any leaf inside `no_grad()`. All else is
refused, for a gradient would be lost. A tape that holds the array notices the change.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tinygrad_seq.arguments import exactly_in, real, sizes_of
from tinygrad_seq.engine.apply import WANTS, Recorded, as_tensor
from tinygrad_seq.engine.node import STATE, Node, mark_changed, recording
from tinygrad_seq.engine.random import stream
from tinygrad_seq.engine.tree import leaves
from tinygrad_seq.errors import ArgumentError, DTypeError, GraphError, ShapeError, describe_shape


class WritingMethods(Recorded):
    """`add_ sub_ mul_ div_ pow_ neg_ clamp_ zero_ fill_ copy_ masked_fill_ uniform_ normal_` and the like."""

    __slots__ = ()

    def _written(self, call: str, *args: Any, **settings: Any) -> Self:
        """The array overwritten by what the method `call` gives."""
        checked_writable(f"{call}_", self)
        for t in leaves((args, settings), ignore_others=True):
            if t.mode & WANTS and STATE.recording:
                raise _lost(f"{call}_", self, t)
        with recording(False):
            return self._overwritten(f"{call}_", getattr(self, call)(*args, **settings))

    def _overwritten(self, call: str, value: Any) -> Self:
        checked_writable(call, self)
        new: Any = as_tensor(exactly_in(value, self.array.dtype), self)
        if new.mode & WANTS and STATE.recording:
            raise _lost(call, self, new)
        array = new.array
        kinds = "biuf"  # what a kind holds stands before it
        if kinds.index(array.dtype.kind.replace("u", "i")) > kinds.index(
            self.array.dtype.kind.replace("i", "u")
        ):
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

    def add_(self, other: Any, *, alpha: float = 1) -> Self:
        """Add alpha times `other`."""
        return self._written("add", other, alpha=alpha)

    def sub_(self, other: Any, *, alpha: float = 1) -> Self:
        """Subtract alpha times `other`."""
        return self._written("sub", other, alpha=alpha)

    def mul_(self, other: Any) -> Self:
        """Multiply by `other`."""
        return self._written("mul", other)

    def div_(self, other: Any) -> Self:
        """Divide by `other`."""
        return self._written("div", other)

    def pow_(self, exponent: Any) -> Self:
        """Raise to a power."""
        return self._written("pow", exponent)

    def neg_(self) -> Self:
        """Turn the sign."""
        return self._written("neg")

    def exp_(self) -> Self:
        """Take the exponential."""
        return self._written("exp")

    def sqrt_(self) -> Self:
        """Take the square root."""
        return self._written("sqrt")

    def relu_(self) -> Self:
        """Put 0 where it is negative."""
        return self._written("relu") if self.array.dtype.kind == "f" else self._written("clamp", 0)

    def clamp_(self, low: Any = None, high: Any = None, *, min: Any = None, max: Any = None) -> Self:
        """Hold between bounds."""
        return self._written("clamp", low, high, min=min, max=max)

    def masked_fill_(self, mask: Any, value: Any) -> Self:
        """Put `value` where the mask is True."""
        return self._written("masked_fill", mask, value)

    def zero_(self) -> Self:
        """Put 0 everywhere."""
        return self._overwritten("zero_", 0)

    def fill_(self, value: Any) -> Self:
        """Put one value everywhere."""
        if isinstance(value, (list, tuple)) or np.ndim(value.array if isinstance(value, Recorded) else value):
            raise ShapeError("fill_: expected one number", {"value": value})
        return self._overwritten("fill_", value)

    def copy_(self, source: Any, non_blocking: bool = False) -> Self:
        """Take the values of `source`, which broadcast, in this dtype."""
        checked_writable("copy_", self)
        value: Any = source if isinstance(source, Recorded) else self.tensor_type(source)
        return self._overwritten("copy_", value.to(self.array.dtype))

    def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Self:
        """Draw evenly from `low` to `high`, from `generator` or the stream `init`."""
        low, high = real("uniform_", "low", low), real("uniform_", "high", high)
        if not low <= high:
            rule = f"expected low at most high, got {low} and {high}."
            raise ArgumentError("uniform_: nothing between the bounds", None, rule)
        rng = generator or stream("init")
        return self._overwritten(
            "uniform_", rng.uniform(low, high, self.array.shape, self._floats("uniform_"))
        )

    def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Self:
        """Draw from the normal distribution, from `generator` or the stream `init`."""
        mean, std = real("normal_", "mean", mean), real("normal_", "std", std)
        if std < 0:
            raise ArgumentError("normal_: std below 0", {"std": std}, "expected at least 0.")
        rng = generator or stream("init")
        drawn = rng.randn(*self.array.shape, dtype=self._floats("normal_"))
        return self._overwritten("normal_", drawn * std + mean)

    def _floats(self, call: str) -> Any:
        if self.array.dtype.kind != "f":
            raise DTypeError(f"{call}: draws are floats", {"x": self}, "expected a floating dtype.")
        return self.array.dtype

    # ---- in place by name, without an array of another shape --------------------------------------------
    def detach_(self) -> Self:
        """Cut the tensor off the tape that made it."""
        self.node, self.mode = None, self.mode & ~WANTS
        return self

    def resize_(self, *sizes: Any) -> Self:
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
