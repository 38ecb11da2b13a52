"""Errors for ops and backward passes that are refused: operands, origins and the rule in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygrad_seq.arguments import axis_error
from tinygrad_seq.engine.node import Leaf, Node, changed_since
from tinygrad_seq.engine.op import Op
from tinygrad_seq.errors import (
    ArgumentError,
    DTypeError,
    GraphError,
    RangeError,
    ShapeError,
    describe,
    describe_shape,
)

_NAMES = ("x", "y", "z")


def refuse(op: Op, operands: Sequence[Any], settings: dict[str, Any], error: Exception) -> Exception:
    """The typed error for an op that NumPy would not run on these operands."""
    if op.name == "where":
        named = dict(zip(("condition", "x", "y"), operands, strict=True))
    elif op.name in ("gather", "scatter"):
        names = ["x", "ids"] if len(operands) == 2 else ["x", *(f"ids{i}" for i in range(len(operands) - 1))]
        named = dict(zip(names, operands, strict=True))
    else:
        named = {(_NAMES[i] if i < 3 else f"x{i}"): x for i, x in enumerate(operands[:8])}
    shapes = [tuple(x.shape) for x in operands]
    if isinstance(error, TypeError):
        return DTypeError(f"{op.name}: not defined for these dtypes", named, f"NumPy says: {error}")
    teller = _TELLERS.get(op.name) or (_broadcast if op.kind == "map" else _plain)
    return teller(op, named, shapes, settings, error)


def _plain(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    return ShapeError(f"{op.name}: the operands do not fit", named, f"NumPy says: {error}")


def _broadcast(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    width = max(map(len, shapes))
    for back in range(1, width + 1):
        sizes = sorted({s[-back] for s in shapes if len(s) >= back} - {1})
        if len(sizes) > 1:
            rule = f"expected equal sizes, or 1, on axis -{back}, got {' and '.join(map(str, sizes))}."
            return ShapeError(f"{op.name}: shapes do not broadcast", named, rule)
    return _plain(op, named, shapes, settings, error)


def _pow(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    if "negative integer powers" not in str(error):
        return _broadcast(op, named, shapes, settings, error)
    rule = "expected powers of at least 0, or floats."
    return DTypeError("pow: integers have no negative powers", named, rule, "Use x.float() ** y.")


def _division(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    if not isinstance(error, ZeroDivisionError):
        return _broadcast(op, named, shapes, settings, error)
    rule = "expected no 0 in y: of floats the result would be infinite or NaN, of integers there is none."
    return ArgumentError(f"{op.name}: integers divided by zero", named, rule)


def _matmul(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    x, y = shapes
    inner, where = (y[0], "the size of y") if len(y) == 1 else (y[-2], "the size of y before its last")
    if x[-1] != inner:
        rule = f"expected the last size of x ({x[-1]}) to equal {where} ({inner})."
        return ShapeError("matmul: inner sizes differ", named, rule)
    lead = f"{describe_shape(x[:-2])} and {describe_shape(y[:-2])}"
    rule = f"expected the sizes before the last two to broadcast: {lead}."
    return ShapeError("matmul: batch sizes do not broadcast", named, rule)


def _reshape(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    shape = settings["shape"]
    have, want = math.prod(shapes[0]), math.prod(shape)
    if sum(n == -1 for n in shape) > 1:
        rule = f"expected at most one -1 in {describe_shape(shape)}."
    elif -1 in shape:
        rule = f"expected {have} elements to divide into {describe_shape(shape)}."
    else:
        rule = f"expected {have} elements, {describe_shape(shape)} has {want}."
    return ShapeError(f"reshape: x does not fit {describe_shape(shape)}", named, rule)


def _expand(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    shape = describe_shape(settings["shape"])
    rule = f"expected each size of x to be 1 or that of {shape}, counted from the right."
    return ShapeError("expand: x does not broadcast to the shape asked for", named, rule)


def _permute(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    rule = f"expected each axis from 0 to {len(shapes[0]) - 1} once, got {describe_shape(settings['axes'])}."
    return ShapeError("permute: the axes are not a reordering", named, rule)


def _concat(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    axis = settings["axis"]
    if len({len(s) for s in shapes}) > 1:
        rule = f"expected equal numbers of axes, got {sorted({len(s) for s in shapes})}."
    elif not -len(shapes[0]) <= axis < len(shapes[0]):
        return axis_error("concat", axis, len(shapes[0]), named)
    else:
        first = shapes[0]
        odd = next(
            i for i, s in enumerate(shapes) if s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :]
        )
        rule = f"expected equal sizes on all axes but {axis}; number {odd} is {describe_shape(shapes[odd])}."
    return ShapeError("concat: the pieces do not fit together", named, rule)


def _gather(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    ids = {name: x.array for name, x in named.items() if name != "x"}
    if any(array.dtype.kind not in "iu" for array in ids.values()):
        return DTypeError(f"{op.name}: ids must be integers", named, "expected integer ids.")
    for (name, array), size in zip(ids.items(), settings.get("shape", shapes[0]), strict=False):
        bad = array[(array < -size) | (array >= size)]
        if bad.size:
            rule = f"expected {name} from 0 to {size - 1}, got {int(bad.flat[0])}."
            return RangeError(f"{op.name}: {name} out of range", named, rule)
    return ShapeError(f"{op.name}: shapes do not fit", named, f"NumPy says: {str(error).strip()}")


def _slice(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    index = settings["index"]
    rule = f"asked for [{describe_index(index)}] of {describe_shape(shapes[0])}."
    what = str(error)
    if "too many" in what:
        what = "more axes than x has"
    elif "out of bounds" in what:
        what = "out of range"
    return RangeError(f"index: {what}", named, rule)


def describe_index(index: tuple[Any, ...]) -> str:
    """An index as it is written between brackets: `2, :, 1:3`; arrays by dtype and shape."""
    parts = []
    for i in index:
        if isinstance(i, slice):
            ends = [("" if e is None else str(e)) for e in (i.start, i.stop)]
            parts.append(":".join(ends) + (f":{i.step}" if i.step is not None else ""))
        else:
            parts.append("..." if i is Ellipsis else describe(i))
    return ", ".join(parts)


def _reduce(op: Op, named: Any, shapes: Any, settings: Any, error: Exception) -> Exception:
    axes, shape = describe_shape(settings["axis"]), describe_shape(shapes[0])
    rule = f"expected at least one element along {axes} of {shape}."
    return ShapeError(f"{op.name}: nothing to reduce", named, rule)


_TELLERS = {
    "pow": _pow,
    "floor_divide": _division,
    "remainder": _division,
    "matmul": _matmul,
    "reshape": _reshape,
    "expand": _expand,
    "permute": _permute,
    "concat": _concat,
    "gather": _gather,
    "scatter": _gather,
    "slice": _slice,
    "max": _reduce,
}


def foreign(x: Any) -> DTypeError:
    """The error for an object that is no operand for a tensor; PyTorch's tensors are named as such."""
    if _of_pytorch(x):
        rule = "expected a tensor of tinygrad_seq: a gradient cannot cross from one library to the other."
        hint = "Use tgs.tensor(x.detach().numpy()) for its values."
        named = {"value": f"torch.{type(x).__name__}{tuple(getattr(x, 'shape', ()))}"}
        return DTypeError("a PyTorch tensor cannot stand beside ours", named, rule, hint)
    rule = "expected a tensor, array or number."
    return DTypeError(f"{type(x).__name__} cannot stand beside a tensor", {"value": x}, rule)


def _of_pytorch(x: Any) -> bool:
    return type(x).__module__.split(".")[0] == "torch"


def refuse_foreign(*operands: Any, lists: bool = False) -> None:
    """DTypeError for PyTorch's tensors, and for `lists`: Python would repeat one, or call it unequal."""
    for x in operands:
        if _of_pytorch(x) or (lists and isinstance(x, (list, tuple))):
            raise foreign(x)


# ---- what backward refuses ----------------------------------------------------------------------------------
def released(node: Node, is_root: bool) -> GraphError:
    """The error for a backward pass that reaches a graph that an earlier one released."""
    if is_root:
        return GraphError(
            "backward: this graph was walked before and its memory released",
            {"output": Made(node)},
            "expected one backward() per forward pass.",
            "Compute the value again, or keep the graph with backward(retain_graph=True).",
        )
    return GraphError(
        "backward: the walk reached a graph that an earlier backward() released",
        {"first released": Made(node)},
        "a value carried over from there, such as a recurrent state, still hangs on it.",
        "Cut a carried state between windows: state = detach(state), or let bptt.TruncatedBPTT do it. For two "
        "losses on one graph, pass retain_graph=True to the first backward().",
    )


class Made:
    """A node in an error text: dtype, shape, and its origin."""

    def __init__(self, node: Node):
        shape: Any = node.shape
        dtype: Any = node.dtype
        several = isinstance(dtype, tuple)  # outputs of one op: the first represents all
        self.shape, self.dtype = (shape[0], dtype[0]) if several else (shape, dtype)
        self.origin = f"from {node.op.name} {node.place}".rstrip()


def refuse_changed(node: Node) -> None:
    """Raise where a value that the rules of this node read has been written to since."""
    for kept in (*(node.saved or ()), node.out):
        if changed_since(kept, node.index):
            raise GraphError(
                f"backward: a value that the gradient of {node.op.name} reads was changed in place",
                {"value": kept, "read by": Made(node)},
                "expected the value to be what it was in the forward pass.",
                "Make a new tensor (y = x + 1) instead of writing into x, or call backward() first.",
            )


def refuse_assigned(node: Node) -> None:
    """Raise where a leaf that a checkpointed function closes over has got another array since."""
    count = (node.settings or {})["inputs"]
    for kept, p in zip((node.saved or ())[count:], node.parents[count:], strict=True):
        tensor = p.tensor() if isinstance(p, Leaf) else None
        if tensor is not None and tensor.array is not kept:
            raise GraphError(
                "backward: a tensor that a checkpointed function reads took a new value",
                {"tensor": tensor, "read by": Made(node)},
                "expected the value of the forward pass, for the function runs again.",
                "Call backward() before assign().",
            )
