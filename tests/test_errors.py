"""Every refusal of the engine, compared whole: what is wrong, the operands, the rule with its numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq import ArgumentError, DTypeError, Generator, GraphError, RangeError, ShapeError, Tensor
from tinygrad_seq.engine import ops

Rows = list[tuple[Callable[[], object], type[Exception], str]]

X = tgs.tensor(np.zeros((2, 3), np.float32), requires_grad=True)
X.name = "w"
H = X * 2.0
V = tgs.ones(3)
NUMBER = Tensor(5.0)
IDS = Tensor([1, 2])
TRUTH = Tensor([True, False])

ONE_NUMBER_AT_A_TIME: Rows = [
    (
        lambda: X + tgs.ones(2, 4),
        ShapeError,
        "add: shapes do not broadcast.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(2, 4)\n"
        "  expected equal sizes, or 1, on axis -1, got 3 and 4.",
    ),
    (
        lambda: H / tgs.ones(3, 2, 2),
        ShapeError,
        "div: shapes do not broadcast.\n"
        "  x: f32(2, 3)   from mul\n"
        "  y: f32(3, 2, 2)\n"
        "  expected equal sizes, or 1, on axis -1, got 2 and 3.",
    ),
    (
        lambda: X.maximum(tgs.ones(5, 2)),
        ShapeError,
        "maximum: shapes do not broadcast.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(5, 2)\n"
        "  expected equal sizes, or 1, on axis -1, got 2 and 3.",
    ),
    (
        lambda: tgs.ones(4) > X,
        ShapeError,
        "less: shapes do not broadcast.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(4,)\n"
        "  expected equal sizes, or 1, on axis -1, got 3 and 4.",
    ),
    (
        lambda: tgs.where(tgs.ones(3, 1) > 0, X, tgs.ones(2, 2)),
        ShapeError,
        "where: shapes do not broadcast.\n"
        "  condition: bool(3, 1)\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(2, 2)\n"
        "  expected equal sizes, or 1, on axis -1, got 2 and 3.",
    ),
    (
        lambda: -TRUTH,
        DTypeError,
        "neg: not defined for these dtypes.\n  x: bool(2,)\n  NumPy says: ",
    ),
    (
        lambda: IDS**-2,
        DTypeError,
        "pow: integers have no negative powers.\n"
        "  x: i64(2,)\n"
        "  y: i64()\n"
        "  expected powers of at least 0, or floats.\n"
        "  Use x.float() ** y.",
    ),
    (
        lambda: IDS & 1,
        DTypeError,
        "logic: & | ^ ~ are for truth values.\n"
        "  x: i64(2,)\n"
        "  expected booleans.\n"
        "  Compare first, as in (x != 0) & (y != 0).",
    ),
    (
        lambda: X.maximum("a"),
        DTypeError,
        "str cannot stand beside a tensor.\n  value: 'a'\n  expected a tensor, array or number.",
    ),
    (
        lambda: X.minimum([1, 2]),
        DTypeError,
        "list cannot stand beside a tensor.\n  value: [1, 2]\n  expected a tensor, array or number.",
    ),
    (
        lambda: tgs.where([True], X, X),
        DTypeError,
        "list cannot stand beside a tensor.\n  value: [True]\n  expected a tensor, array or number.",
    ),
    (
        lambda: tgs.maximum(None, X),
        DTypeError,
        "NoneType cannot stand beside a tensor.\n  value: None\n  expected a tensor, array or number.",
    ),
    (
        lambda: X.to("complex64"),
        DTypeError,
        "to: no tensors of dtype complex64.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected floats, integers or booleans.",
    ),
]
MOVES: Rows = [
    (
        lambda: H.reshape(4, 2),
        ShapeError,
        "reshape: x does not fit (4, 2).\n  x: f32(2, 3)   from mul\n  expected 6 elements, (4, 2) has 8.",
    ),
    (
        lambda: X.reshape(4, -1),
        ShapeError,
        "reshape: x does not fit (4, -1).\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected 6 elements to divide into (4, -1).",
    ),
    (
        lambda: X.reshape(-1, -1),
        ShapeError,
        "reshape: x does not fit (-1, -1).\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected at most one -1 in (-1, -1).",
    ),
    (
        lambda: X.flatten(1, 0),
        ShapeError,
        "flatten: the axes are not in order.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected the first axis at or before the last, got 1 and 0.",
    ),
    (
        lambda: X.flatten(0, 5),
        RangeError,
        "flatten: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -2 to 1, got 5.",
    ),
    (
        lambda: X.permute(0, 0),
        ShapeError,
        "permute: the axes are not a reordering.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected each axis from 0 to 1 once, got (0, 0).",
    ),
    (
        lambda: X.permute(1),
        ShapeError,
        "permute: the axes are not a reordering.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected each axis from 0 to 1 once, got (1,).",
    ),
    (
        lambda: X.permute(0, 2),
        RangeError,
        "permute: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: X.transpose(0, 2),
        RangeError,
        "transpose: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: X.transpose(0.5, 1),
        RangeError,
        "transpose: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -2 to 1, got 0.5.",
    ),
    (
        lambda: H.expand(2, 4),
        ShapeError,
        "expand: x does not broadcast to the shape asked for.\n"
        "  x: f32(2, 3)   from mul\n"
        "  expected each size of x to be 1 or that of (2, 4), counted from the right.",
    ),
    (
        lambda: X.expand(3),
        ShapeError,
        "expand: x does not broadcast to the shape asked for.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected each size of x to be 1 or that of (3,), counted from the right.",
    ),
    (
        lambda: X.squeeze(3),
        RangeError,
        "squeeze: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -2 to 1, got 3.",
    ),
    (
        lambda: X.unsqueeze(-4),
        RangeError,
        "unsqueeze: axis out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected an axis from -3 to 2, got -4.",
    ),
    (
        lambda: X.flip(2),
        RangeError,
        "flip: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: X.split([1, 1], 1),
        ShapeError,
        "split: sizes do not add up.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  sizes: (1, 1)\n"
        "  expected sizes that sum to 3, the size of axis 1; they sum to 2.",
    ),
    (
        lambda: X.split([4, -1], 1),
        ArgumentError,
        "split: size out of range.\n  expected a whole number of at least 0, got -1.",
    ),
    (
        lambda: X.split(0),
        ArgumentError,
        "split: size out of range.\n  expected a whole number of at least 1, got 0.",
    ),
    (
        lambda: X.split(1, 2),
        RangeError,
        "split: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: X.chunk(0),
        ArgumentError,
        "chunk: chunks out of range.\n  expected a whole number from 1 to 2147483648, got 0.",
    ),
    (
        lambda: X.chunk(2, -3),
        RangeError,
        "chunk: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got -3.",
    ),
    (
        lambda: tgs.concat([]),
        ShapeError,
        "concat: no tensors given.\n  expected at least one.",
    ),
    (
        lambda: tgs.concat([H, X, tgs.ones(4, 3)], 1),
        ShapeError,
        "concat: the pieces do not fit together.\n"
        "  x: f32(2, 3)   from mul\n"
        "  y: f32(2, 3)   parameter 'w'\n"
        "  z: f32(4, 3)\n"
        "  expected equal sizes on all axes but 1; number 2 is (4, 3).",
    ),
    (
        lambda: tgs.concat([X, V]),
        ShapeError,
        "concat: the pieces do not fit together.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(3,)\n"
        "  expected equal numbers of axes, got [1, 2].",
    ),
    (
        lambda: tgs.concat([X, X], 2),
        RangeError,
        "concat: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: tgs.concat([NUMBER, NUMBER]),
        RangeError,
        "concat: axis out of range.\n  x: f32()\n  x has no axes, got 0.",
    ),
    (
        lambda: tgs.concat([X, "a"]),
        DTypeError,
        "str cannot stand beside a tensor.\n  value: 'a'\n  expected a tensor, array or number.",
    ),
    (
        lambda: tgs.stack([]),
        ShapeError,
        "stack: no tensors given.\n  expected at least one.",
    ),
    (
        lambda: tgs.stack([X, X, V]),
        ShapeError,
        "stack: shapes differ.\n"
        "  number 0: f32(2, 3)   parameter 'w'\n"
        "  number 2: f32(3,)\n"
        "  expected one shape throughout.",
    ),
    (
        lambda: tgs.stack([X, X], 3),
        RangeError,
        "stack: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -3 to 2, got 3.",
    ),
    (
        lambda: ops.pad(X, index=(slice(0, 3),), shape=(4, 3)),
        ShapeError,
        "pad: the operands do not fit.\n  x: f32(2, 3)   parameter 'w'\n  NumPy says: ",
    ),
]
PRODUCTS: Rows = [
    (
        lambda: H @ tgs.ones(4, 3),
        ShapeError,
        "matmul: inner sizes differ.\n"
        "  x: f32(2, 3)   from mul\n"
        "  y: f32(4, 3)\n"
        "  expected the last size of x (3) to equal the size of y before its last (4).",
    ),
    (
        lambda: X @ tgs.ones(2),
        ShapeError,
        "matmul: inner sizes differ.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32(2,)\n"
        "  expected the last size of x (3) to equal the size of y (2).",
    ),
    (
        lambda: V @ X,
        ShapeError,
        "matmul: inner sizes differ.\n"
        "  x: f32(3,)\n"
        "  y: f32(2, 3)   parameter 'w'\n"
        "  expected the last size of x (3) to equal the size of y before its last (2).",
    ),
    (
        lambda: V @ tgs.ones(2),
        ShapeError,
        "matmul: inner sizes differ.\n"
        "  x: f32(3,)\n"
        "  y: f32(2,)\n"
        "  expected the last size of x (3) to equal the size of y (2).",
    ),
    (
        lambda: tgs.ones(5, 2, 3) @ tgs.ones(4, 3),
        ShapeError,
        "matmul: inner sizes differ.\n"
        "  x: f32(5, 2, 3)\n"
        "  y: f32(4, 3)\n"
        "  expected the last size of x (3) to equal the size of y before its last (4).",
    ),
    (
        lambda: tgs.ones(2, 3, 4) @ tgs.ones(3, 4, 5),
        ShapeError,
        "matmul: batch sizes do not broadcast.\n"
        "  x: f32(2, 3, 4)\n"
        "  y: f32(3, 4, 5)\n"
        "  expected the sizes before the last two to broadcast: (2,) and (3,).",
    ),
    (
        lambda: X @ NUMBER,
        ShapeError,
        "matmul: a number is no matrix.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: f32()\n"
        "  expected at least one axis each.\n"
        "  Use * instead.",
    ),
    (
        lambda: X @ 2,
        ShapeError,
        "matmul: a number is no matrix.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  y: i64()\n"
        "  expected at least one axis each.\n"
        "  Use * instead.",
    ),
    (
        lambda: X.matmul(None),
        DTypeError,
        "NoneType cannot stand beside a tensor.\n  value: None\n  expected a tensor, array or number.",
    ),
]
REDUCTIONS: Rows = [
    (
        lambda: X.sum(2),
        RangeError,
        "sum: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: X.mean((0, -3)),
        RangeError,
        "mean: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got -3.",
    ),
    (
        lambda: X.var(0.5),
        RangeError,
        "var: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 0.5.",
    ),
    (
        lambda: NUMBER.sum(0),
        RangeError,
        "sum: axis out of range.\n  x: f32()\n  x has no axes, got 0.",
    ),
    (
        lambda: tgs.zeros(0, 3).max(0),
        ShapeError,
        "max: nothing to reduce.\n  x: f32(0, 3)\n  expected at least one element along (0,) of (0, 3).",
    ),
    (
        lambda: X.argmax(2),
        RangeError,
        "argmax: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: tgs.zeros(0).argmin(),
        ShapeError,
        "argmin: nothing to search.\n  x: f32(0,)\n  expected at least one element to search.",
    ),
]
INDICES: Rows = [
    (
        lambda: H[2],
        RangeError,
        "index: out of range.\n  x: f32(2, 3)   from mul\n  asked for [2] of (2, 3).",
    ),
    (
        lambda: X[:, 5],
        RangeError,
        "index: out of range.\n  x: f32(2, 3)   parameter 'w'\n  asked for [:, 5] of (2, 3).",
    ),
    (
        lambda: X[0, 0, 0],
        RangeError,
        "index: more axes than x has.\n  x: f32(2, 3)   parameter 'w'\n  asked for [0, 0, 0] of (2, 3).",
    ),
    (
        lambda: X[[0], [0], [0]],
        RangeError,
        "index: more axes than x has.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  asked for [i64(1,), i64(1,), i64(1,)] of (2, 3).",
    ),
    (
        lambda: X[..., ...],
        RangeError,
        "index: an index can only have a single ellipsis ('...').\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  asked for [..., ...] of (2, 3).",
    ),
    (
        lambda: X[..., [0], ...],
        RangeError,
        "index: an index can only have a single ellipsis ('...').\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  asked for [..., i64(1,), ...] of (2, 3).",
    ),
    (
        lambda: X[1::0],
        RangeError,
        "index: slice step cannot be zero.\n  x: f32(2, 3)   parameter 'w'\n  asked for [1::0] of (2, 3).",
    ),
    (
        lambda: X[1.0],
        DTypeError,
        "index: cannot index with this.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  index: 1.0\n"
        "  expected an integer, a slice, None, ..., or an array of integers or booleans.",
    ),
    (
        lambda: X["a"],
        DTypeError,
        "index: cannot index with this.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  index: 'a'\n"
        "  expected an integer, a slice, None, ..., or an array of integers or booleans.",
    ),
    (
        lambda: X[np.array([1.0])],
        DTypeError,
        "index: ids must be integers.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  ids: f64(1,)\n"
        "  expected integers or booleans.",
    ),
    (
        lambda: H[[0, 2]],
        RangeError,
        "gather: ids out of range.\n"
        "  x: f32(2, 3)   from mul\n"
        "  ids: i64(2,)\n"
        "  expected ids from 0 to 1, got 2.",
    ),
    (
        lambda: X[[0, 1], [0, -4]],
        RangeError,
        "gather: ids1 out of range.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  ids0: i64(2,)\n"
        "  ids1: i64(2,)\n"
        "  expected ids1 from 0 to 2, got -4.",
    ),
    (
        lambda: X[:, [3]],
        RangeError,
        "gather: ids out of range.\n"
        "  x: f32(3, 2)   from permute\n"
        "  ids: i64(1,)\n"
        "  expected ids from 0 to 2, got 3.",
    ),
    (
        lambda: X[[0, 1], [0, 1, 2]],
        ShapeError,
        "gather: shapes do not fit.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  ids0: i64(2,)\n"
        "  ids1: i64(3,)\n"
        "  NumPy says: ",
    ),
    (
        lambda: X[np.array([True, False, True])],
        RangeError,
        "index: the mask does not fit.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  mask: bool(3,)\n"
        "  expected the mask's shape to equal the sizes of x from axis 0.",
    ),
    (
        lambda: X[:, TRUTH],
        RangeError,
        "index: the mask does not fit.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  mask: bool(2,)\n"
        "  expected the mask's shape to equal the sizes of x from axis 1.",
    ),
    (
        lambda: X.take([0], 2),
        RangeError,
        "take: axis out of range.\n  x: f32(2, 3)   parameter 'w'\n  expected an axis from -2 to 1, got 2.",
    ),
    (
        lambda: ops.gather(X, V),
        DTypeError,
        "gather: ids must be integers.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  ids: f32(3,)\n"
        "  expected integer ids.",
    ),
    (
        lambda: ops.scatter(H, Tensor([0, 9]), shape=(3, 3)),
        RangeError,
        "scatter: ids out of range.\n"
        "  x: f32(2, 3)   from mul\n"
        "  ids: i64(2,)\n"
        "  expected ids from 0 to 2, got 9.",
    ),
    (
        lambda: V.__setitem__(5, 1.0),
        RangeError,
        "assignment: the index does not fit.\n  x: f32(3,)\n  value: 1.0\n  NumPy says: ",
    ),
    (
        lambda: V.__setitem__(slice(None), np.ones(2)),
        ShapeError,
        "assignment: the value does not fit.\n  x: f32(3,)\n  value: f64(2,)\n  NumPy says: ",
    ),
    (
        lambda: V.__setitem__(1.5, 1.0),
        DTypeError,
        "index: cannot index with this.\n"
        "  x: f32(3,)\n"
        "  index: 1.5\n"
        "  expected an integer, a slice, None, ..., or an array of integers or booleans.",
    ),
]
LEAVING_THE_TAPE: Rows = [
    (
        lambda: H.item(),
        ShapeError,
        "item: not one element.\n  x: f32(2, 3)   from mul\n  expected 1 element, got 6.",
    ),
    (
        lambda: float(X),
        ShapeError,
        "item: not one element.\n  x: f32(2, 3)   parameter 'w'\n  expected 1 element, got 6.",
    ),
    (
        lambda: bool(X),
        ShapeError,
        "bool: the truth of several elements is not one.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  expected 1 element; use .all() or .any().",
    ),
    (
        lambda: [1, 2][NUMBER],
        DTypeError,
        "index: not an integer.\n  x: f32()\n  expected an integer tensor.",
    ),
    (
        lambda: len(NUMBER),
        TypeError,
        "len: a tensor without axes has no length.",
    ),
    (
        lambda: X.assign(V),
        ShapeError,
        "assign: the value does not fit.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  value: f32(3,)\n"
        "  expected shape (2, 3).",
    ),
    (
        lambda: H.assign(X),
        GraphError,
        "assign: x was made by a recorded op.\n  x: f32(2, 3)   from mul\n  expected a leaf.",
    ),
    (
        lambda: setattr(X, "data", np.zeros(3)),
        ShapeError,
        "assign: the value does not fit.\n"
        "  x: f32(2, 3)   parameter 'w'\n"
        "  value: f64(3,)\n"
        "  expected shape (2, 3).",
    ),
]
GRADIENTS: Rows = [
    (
        lambda: H.backward(),
        GraphError,
        "backward: only one number has a gradient by itself.\n"
        "  output: f32(2, 3)   from mul\n"
        "  expected 1 element, got 6.\n"
        "  Reduce it first, for example .sum() or .mean(), or pass the gradient of a loss to it.",
    ),
    (
        lambda: V.sum().backward(),
        GraphError,
        "backward: nothing here wants a gradient.\n"
        "  output: f32()\n"
        "  expected an output made from tensors with requires_grad=True, outside no_grad().",
    ),
    (
        lambda: ops.cut(X).sum().backward(),
        GraphError,
        "backward: nothing here wants a gradient.\n"
        "  output: f32()\n"
        "  expected an output made from tensors with requires_grad=True, outside no_grad().",
    ),
    (
        lambda: (X > 0).backward(),
        GraphError,
        "backward: nothing here wants a gradient.\n"
        "  output: bool(2, 3)\n"
        "  expected an output made from tensors with requires_grad=True, outside no_grad().",
    ),
    (
        lambda: H.backward(V),
        ShapeError,
        "backward: the gradient's shape is not the output's.\n"
        "  output: f32(2, 3)   from mul\n"
        "  gradient: f32(3,)\n"
        "  expected shape (2, 3).",
    ),
    (
        lambda: tgs.grad(H, X),
        GraphError,
        "grad: only one number has a gradient by itself.\n"
        "  output: f32(2, 3)   from mul\n"
        "  expected 1 element, got 6.\n"
        "  Reduce it first, for example .sum() or .mean(), or pass the gradient of a loss to it.",
    ),
    (
        lambda: tgs.grad(H.sum(), V),
        GraphError,
        "grad: an input does not want a gradient.\n"
        "  input: f32(3,)\n"
        "  expected inputs with requires_grad=True.",
    ),
    (
        lambda: tgs.grad([H.sum()], [X], [None, None]),
        ShapeError,
        "grad: outputs and grad_outputs differ in number.\n"
        "  expected 1 gradients, one for each output, got 2.",
    ),
    (
        lambda: tgs.grad(H, X, tgs.ones(3, 2)),
        ShapeError,
        "grad: the gradient's shape is not the output's.\n"
        "  output: f32(2, 3)   from mul\n"
        "  gradient: f32(3, 2)\n"
        "  expected shape (2, 3).",
    ),
    (
        lambda: V.register_hook(print),
        GraphError,
        "register_hook: no gradient flows here.\n"
        "  x: f32(3,)\n"
        "  expected a tensor with requires_grad=True, or made from one.",
    ),
    (
        lambda: V.retain_grad(),
        GraphError,
        "register_hook: no gradient flows here.\n"
        "  x: f32(3,)\n"
        "  expected a tensor with requires_grad=True, or made from one.",
    ),
    (
        lambda: IDS.requires_grad_(),
        DTypeError,
        "requires_grad: only floating tensors have gradients.\n"
        "  x: i64(2,)\n"
        "  expected a floating dtype, f32 or f64.",
    ),
    (
        lambda: H.requires_grad_(False),
        GraphError,
        "requires_grad: only a leaf's can be set.\n"
        "  x: f32(2, 3)   from mul\n"
        "  x was made by a recorded op.\n"
        "  Use x.detach() for a leaf with the same value.",
    ),
    (
        lambda: tgs.tensor([1], requires_grad=True),
        DTypeError,
        "requires_grad: only floating tensors have gradients.\n"
        "  x: i64(1,)\n"
        "  expected a floating dtype, f32 or f64.",
    ),
    (
        lambda: tgs.vjp(lambda x: [x, x], 1.0),
        GraphError,
        "the function must return one tensor.\n"
        "  returned: [Tensor(1., f32(), requires_grad=True), Tensor(1., f32(), requires_grad=True)]",
    ),
    (
        lambda: tgs.value_and_grad(lambda x: 3.0)(X),
        GraphError,
        "the function must return one tensor.\n  returned: 3.0",
    ),
    (
        lambda: tgs.jvp(lambda x: x, IDS, IDS),
        DTypeError,
        "requires_grad: only floating tensors have gradients.\n"
        "  x: i64(2,)\n"
        "  expected a floating dtype, f32 or f64.",
    ),
    (
        lambda: tgs.hvp(lambda x: x * x, V, V),
        GraphError,
        "grad: only one number has a gradient by itself.\n"
        "  output: f32(3,)   from mul\n"
        "  expected 1 element, got 3.\n"
        "  Reduce it first, for example .sum() or .mean(), or pass the gradient of a loss to it.",
    ),
]
MAKING_TENSORS: Rows = [
    (
        lambda: Tensor("abc"),
        DTypeError,
        "tensor: no tensors of dtype <U3.\n  data: 'abc'\n  expected floats, integers or booleans.",
    ),
    (
        lambda: Tensor([1j]),
        DTypeError,
        "tensor: no tensors of dtype complex128.\n  data: [1j]\n  expected floats, integers or booleans.",
    ),
    (
        lambda: Tensor([None]),
        DTypeError,
        "tensor: no tensors of dtype object.\n  data: [None]\n  expected floats, integers or booleans.",
    ),
    (
        lambda: Generator("a"),
        DTypeError,
        "Generator: a seed is a whole number.\n  seed: 'a'",
    ),
    (
        lambda: tgs.manual_seed(1.5),
        DTypeError,
        "Generator: a seed is a whole number.\n  seed: 1.5",
    ),
]

ALL = [
    *ONE_NUMBER_AT_A_TIME,
    *MOVES,
    *PRODUCTS,
    *REDUCTIONS,
    *INDICES,
    *LEAVING_THE_TAPE,
    *GRADIENTS,
    *MAKING_TENSORS,
]


@pytest.mark.parametrize(("call", "error", "text"), ALL, ids=[row[2].splitlines()[0][:60] for row in ALL])
def test_the_text_is_whole(call: Callable[[], object], error: type[Exception], text: str) -> None:
    """The class and the text are these, up to words of NumPy's own; its traceback is not shown."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    ours, quoted, _ = str(caught.value).partition("NumPy says: ")
    assert ours + quoted == text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_operands_are_told_by_where_they_come_from() -> None:
    """Parameters go by name, results by op, scope and time step, in the backward pass too."""
    with tgs.scope("lstm"), tgs.scope("gates"), tgs.time_step(3):
        z = X.tanh()
    with pytest.raises(ShapeError) as caught:
        z @ X
    assert str(caught.value) == (
        "matmul: inner sizes differ.\n"
        "  x: f32(2, 3)   from tanh in lstm/gates, step 3\n"
        "  y: f32(2, 3)   parameter 'w'\n"
        "  expected the last size of x (3) to equal the size of y before its last (2)."
    )
    slope = tgs.grad(z.sum(), X, create_graph=True)
    with pytest.raises(ShapeError, match="from sub in lstm/gates, step 3, backward pass"):
        slope @ X


@pytest.mark.parametrize("other", ["a", None, [1.0], (1, 2), {}, 1j])
def test_foreign_operands_are_left_to_python(other: object) -> None:
    """An operator beside what is no number is Python's TypeError, so that the other side may still answer."""
    for call in (
        lambda: X + other,
        lambda: other - X,
        lambda: X @ other,
        lambda: X // other,
        lambda: other < X,
    ):
        with pytest.raises(TypeError, match=r"unsupported operand|not supported between"):
            call()
    if isinstance(other, (list, tuple)):  # NumPy would compare each, Python says False
        with pytest.raises(DTypeError, match="cannot stand beside a tensor"):
            other == X  # noqa: B015
    else:
        assert (other == X, other != X) == (False, True)

    class Answers:
        def __radd__(self, other: object) -> str:
            return "mine"

    assert X + Answers() == "mine"
