"""Running an op on tensors, and recording it where an input requires a gradient or is traced."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar
from weakref import ref

import numpy as np

from tinygrad_seq.arguments import number_as
from tinygrad_seq.engine import ops
from tinygrad_seq.engine.dtypes import computed
from tinygrad_seq.engine.messages import foreign, refuse, refuse_foreign
from tinygrad_seq.engine.names import rename
from tinygrad_seq.engine.node import PICK, STATE, Leaf, Node, new_node
from tinygrad_seq.engine.op import Op
from tinygrad_seq.errors import DTypeError, TraceError
from tinygrad_seq.runtime.arrays import Array

WANTS, TRACED = 1, 2
VALUES_ONLY = 4  # the result of `max(1)`, a pair in PyTorch: never unpacked or indexed by a number
FLOAT32 = np.dtype(np.float32)
_FAILURES = (ValueError, TypeError, IndexError, ZeroDivisionError)


T = TypeVar("T", bound="Recorded")


class Recorded:
    """The part of a tensor that recording needs: its array, its node, requires_grad, and whether it is traced."""

    __slots__ = ("__weakref__", "_grad", "array", "label", "mode", "node", "viewed")
    tensor_type: ClassVar[type[Any]]  # `Tensor`, entered by `tensor`
    learnt: ClassVar[bool] = False  # a parameter of a module

    array: Array
    node: Node | Leaf | None
    mode: int
    _grad: Any
    label: str
    viewed: tuple[ref[Any], ...]  # of a view: the tensors that own its memory, as long as they live

    @property
    def name(self) -> str:
        """What listings, errors and pictures call it."""
        return self.label

    @name.setter
    def name(self, name: str) -> None:
        self.label = name
        if self.node is not None:
            rename(self.node, name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.array.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype."""
        return self.array.dtype

    def _looked_at(self, call: str) -> None:
        if STATE.tracing and self.mode & TRACED:
            rule = "expected maths alone: a kernel is made once, and serves other values too."
            hint = "Write a choice between values as where(condition, x, y)."
            raise TraceError(f"{call}: a value was looked at while a function was traced", None, rule, hint)


def wrap(array: Array, node: Node | Leaf | None = None, mode: int = 0) -> T:  # type: ignore[type-var]
    """A tensor around an array, without a copy.

    Its class is defined above this file, so a type checker takes the class that the caller expects.
    """
    t = _new(Recorded.tensor_type)
    t.array, t.node, t.mode = array, node, mode
    t._grad, t.label, t.viewed = None, "", ()
    return t  # type: ignore[no-any-return]


_new = object.__new__


def leaf(x: Any) -> Leaf:
    """The leaf node of a tensor that is no result of an op; made at its first use."""
    x.node = node = Leaf(x, bool(x.mode & WANTS), x.name)
    if STATE.kept is not None:
        STATE.kept.append(x)
    return node


# ---- operands that are not tensors yet -------------------------------------------------------------------
_constants: dict[Any, dict[Any, Any]] = {}


def constant(value: float | int | bool, dtype: np.dtype[Any]) -> Any:
    """A Python number as a tensor of `dtype`; equal ones share one tensor and one node."""
    known = _constants.setdefault(dtype, {})
    t: Any = known.get(value)
    if t is None:
        t = wrap(number_as(value, dtype))
        t.node = Leaf(t, False, "", value)
        if STATE.kept is not None:
            STATE.kept.append(t)
        if len(known) > 4096:
            known.clear()
        if value != 0:  # 0.0 and -0.0 are equal keys, but not equal constants
            known[value] = t
    return t


def is_operand(x: object) -> bool:
    """True where `x` may be an operand beside a tensor."""
    return isinstance(x, (Recorded, int, float, np.ndarray, np.generic))


def number_dtype(value: float | int | bool, like: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype a Python number takes beside a tensor: it never widens one."""
    if like.kind == "f" or isinstance(value, (bool, np.bool_)):
        return like if like.kind == "f" else np.dtype(bool)
    if isinstance(value, (int, np.integer)):
        return like if like.kind in "iu" else np.dtype(np.int64)
    return FLOAT32


def as_tensor(x: Any, like: Any = None) -> T:  # type: ignore[type-var]
    """`x` as a tensor; numbers take the dtype that suits `like`."""
    if isinstance(x, Recorded):
        return x  # type: ignore[return-value]
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, (bool, int, float)):
        if like is not None:
            return constant(x, number_dtype(x, like.dtype))  # type: ignore[no-any-return]
        return constant(  # type: ignore[no-any-return]
            x, np.dtype(bool if isinstance(x, bool) else np.int64 if isinstance(x, int) else FLOAT32)
        )
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        computed("tensor", x.dtype)
        # A copy: the tape must not depend on later writes of the array's owner.
        kept = STATE.recording and (x.flags.writeable or x.base is not None)
        return wrap(np.array(x) if kept else np.asarray(x))
    raise foreign(x)


def input_tensor(call: str, x: Any) -> T:  # type: ignore[type-var]
    """An argument of a function or layer as a tensor: arrays, numbers and lists of numbers are accepted."""
    if isinstance(x, Recorded):
        return x  # type: ignore[return-value]
    if isinstance(x, (list, tuple)) and len(x):
        return Recorded.tensor_type(x)  # type: ignore[no-any-return]
    try:
        return as_tensor(x)
    except DTypeError as error:
        raise DTypeError(f"{call}: {error}") from None


def _joined(kinds: list[np.dtype[Any]]) -> np.dtype[Any]:
    floats = [k for k in kinds if k.kind == "f"]
    return np.result_type(*(floats or kinds))


def coerced(inputs: tuple[Any, ...]) -> list[Any]:
    """The operands as tensors of one dtype: floats beat integers beat bools, and numbers never widen."""
    like = [x for x in inputs if isinstance(x, (Recorded, np.ndarray))]
    kind = _joined([x.dtype for x in like] or [np.dtype(bool)])
    for x in inputs:
        if not isinstance(x, (Recorded, np.ndarray)):
            value = x.item() if isinstance(x, np.generic) else x
            if isinstance(value, (bool, int, float)):
                kind = _joined([kind, number_dtype(value, kind)])
    tensors = []
    for x in inputs:
        number = not isinstance(x, (Recorded, np.ndarray)) and isinstance(x, (bool, int, float, np.generic))
        t = constant(x.item() if isinstance(x, np.generic) else x, kind) if number else as_tensor(x)
        tensors.append(t if t.array.dtype == kind else ops.cast(t, dtype=kind))
    return tensors


# ---- running ---------------------------------------------------------------------------------------------
def unary(op: Op, x: T, settings: dict[str, Any] | None = None) -> T:
    """Run an op of one input: the fast path of `record`."""
    a = x.array
    if op.floating and a.dtype.kind != "f":
        return unary(op, ops.cast(x, dtype=FLOAT32))  # type: ignore[no-any-return]
    here, views = STATE.__dict__, op.views
    try:
        if not settings:
            out = here["run"](op.forward, a)
        else:  # a view computes nothing, so NumPy cannot warn
            out = op.forward(a, **settings) if views else here["run"](op.forward, a, **settings)
    except _FAILURES as error:
        raise refuse(op, (x,), settings or {}, error) from None
    if type(out) is not _ndarray:
        out = np.asarray(out)
    mx, mode, node = x.mode, 0, None
    if mx and here["recording"]:
        places, flows = op.plans.get(_WANTING[mx & 1]) or op.plan(_WANTING[mx & 1])
        if flows or op.always_recorded or mx & TRACED:
            parents = (x.node or leaf(x),)
            saved, kept = (a,) if 0 in places else parents, out if -1 in places else None
            node = new_node(op, parents, settings, saved, kept, here["place"], out.shape, out.dtype, flows)
            mode = (mx & TRACED) | flows
    if here["watch"] is not None:
        here["watch"].made(node, op, (x,), out)
    made = _new(Recorded.tensor_type)
    made.array, made.node, made.mode = out, node, mode
    made._grad, made.label = None, ""
    made.viewed = () if not views else (ref(x), *x.viewed) if x.viewed else (ref(x),)
    return made  # type: ignore[no-any-return]


_WANTING = ((False,), (True,))
_WANTING_TWO = ((False, False), (True, False), (False, True), (True, True))
_ndarray = np.ndarray


def binary(op: Op, x: Any, y: Any) -> T:  # type: ignore[type-var]
    """Run an op of two inputs: the fast path of `record`. Returns NotImplemented for foreign operands."""
    if type(y) is float and isinstance(x, Recorded):
        y = constant(y, number_dtype(y, x.array.dtype))
    elif type(x) is float and isinstance(y, Recorded):
        x = constant(x, number_dtype(x, y.array.dtype))
    elif not (isinstance(x, Recorded) and isinstance(y, Recorded)):
        if not (is_operand(x) and is_operand(y)):
            refuse_foreign(x, y, lists=op.refuses_lists)
            return NotImplemented  # type: ignore[no-any-return]
        x, y = as_tensor(x, y), as_tensor(y, x)
    a, b = x.array, y.array
    if a.dtype is not b.dtype and a.dtype != b.dtype and not (op.exact and _are_integers(a, b)):
        x, y = coerced((x, y))
        a, b = x.array, y.array
    if op.floating and a.dtype.kind != "f":
        x, y = ops.cast(x, dtype=FLOAT32), ops.cast(y, dtype=FLOAT32)
        a, b = x.array, y.array
    here = STATE.__dict__
    try:
        out = here["run"](op.forward, a, b)
    except _FAILURES as error:
        raise refuse(op, (x, y), {}, error) from None
    if type(out) is not _ndarray:
        out = np.asarray(out)
    mx, my = x.mode, y.mode
    mode, node = 0, None
    if (mx or my) and here["recording"]:
        wants = _WANTING_TWO[(mx & 1) | (my & 1) << 1]
        places, flows = op.plans.get(wants) or op.plan(wants)
        if flows or (mx | my) & TRACED:
            px, py = parents = x.node or leaf(x), y.node or leaf(y)
            saved = (a if 0 in places else px, b if 1 in places else py) if places else parents
            kept = out if -1 in places else None
            node = new_node(op, parents, None, saved, kept, here["place"], out.shape, out.dtype, flows)
            mode = ((mx | my) & TRACED) | flows
    if here["watch"] is not None:
        here["watch"].made(node, op, (x, y), out)
    made = _new(Recorded.tensor_type)
    made.array, made.node, made.mode = out, node, mode
    made._grad, made.label, made.viewed = None, "", ()
    return made  # type: ignore[no-any-return]


def _are_integers(a: Array, b: Array) -> bool:
    return a.dtype.kind in "iu" and b.dtype.kind in "iu"


def record(op: Op, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Run `op` on tensors, arrays and numbers; the result is on the tape if an input requires it."""
    if len(inputs) == 1 and op.joint_vjp is None:
        return unary(op, as_tensor(inputs[0]), settings)
    if not settings and len(inputs) == 2 and op.joint_vjp is None:
        return binary(op, *inputs)
    if op.promotes is not None:
        given, joined = inputs[: op.promotes], inputs[op.promotes :]
        kinds = {getattr(x, "dtype", None) for x in joined}
        inputs = (*given, *coerced(joined)) if len(kinds) > 1 or None in kinds else inputs
    tensors: list[Any] = [as_tensor(x) for x in inputs]
    arrays = [t.array for t in tensors]
    try:
        out = op.forward(*arrays, **settings) if op.composite else STATE.run(op.forward, *arrays, **settings)
    except _FAILURES as error:
        raise refuse(op, tensors, settings, error) from None
    return finish(op, tensors, out, settings)


def finish(op: Op, tensors: list[Any], out: Any, settings: dict[str, Any]) -> Any:
    """The result of an op as a tensor, or as a tuple of tensors where the op has several outputs."""
    several = type(out) is tuple
    if not several and type(out) is not np.ndarray:
        out = np.asarray(out)
    mode = 0
    for t in tensors:
        mode |= t.mode
    node = None
    state = STATE
    if mode and state.recording:
        places, flows = op.plan(tuple([t.mode & 1 == 1 for t in tensors]))
        if flows or op.always_recorded or mode & TRACED:
            parents = tuple([t.node or leaf(t) for t in tensors])
            saved = tuple(
                [t.array if i in places else p for i, (t, p) in enumerate(zip(tensors, parents, strict=True))]
            )
            kept = out if -1 in places else None
            shape, dtype = ((), None) if several else (out.shape, out.dtype)
            node = new_node(op, parents, settings, saved, kept, state.place, shape, dtype, flows)
            mode = (mode & TRACED) | flows
        else:
            mode = 0
    else:
        mode = 0
    if state.watch is not None:
        for o in out if several else (out,):
            state.watch.made(node, op, tuple(tensors), o)
    return picked(node, out, mode) if several else wrap(out, node, mode)


def picked(node: Node | None, outs: tuple[Array, ...], mode: int) -> tuple[Any, ...]:
    """The outputs of an op that has several, each on the tape as a `pick` of the op's node."""
    if node is None:
        return tuple([wrap(o) for o in outs])
    node.shape = tuple([o.shape for o in outs])
    node.dtype = tuple([o.dtype for o in outs])  # type: ignore[assignment]
    made: list[Any] = []  # a loop, for each generator would take as long as a node
    for i, o in enumerate(outs):
        pick = new_node(PICK, (node,), {"i": i}, (node,), None, node.place, o.shape, o.dtype, node.wants)
        made.append(wrap(o, pick, mode))
    return tuple(made)
