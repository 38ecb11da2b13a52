"""The cost of an op: arithmetic, and bytes made and kept.

Arithmetic is counted so: a product of (m, k) and (k, n) is 2 m k n; a pointwise op one for each number that it makes,
be it an addition or an exponential; a sum or a maximum one for each number that it reads; an op that only moves
numbers nothing. The cost of a fused op is that of its composition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.engine.node import Leaf, Node
from tinygrad_seq.engine.op import OPS
from tinygrad_seq.runtime.weakrefs import owner_of
from tinygrad_seq.tape.row import Row


def flops_of(row: Row, rows: Sequence[Row]) -> int:
    """The arithmetic of one primitive; 0 for what is none."""
    op = OPS.get(row.op)
    if op is None or op.free:
        return 0
    if op.kind == "map":
        return int(math.prod(row.shape))
    if op.kind == "matmul":
        return int(2 * math.prod(row.shape) * rows[row.args[0]].shape[-1])
    if op.kind == "reduce" or row.op == "scatter":
        return int(math.prod(rows[row.args[0]].shape))
    return 0


def bytes_of(shape: Any, dtype: Any) -> int:
    """The bytes of an array, or of the several outputs of an op."""
    if isinstance(dtype, tuple):
        return sum(map(bytes_of, shape, dtype))
    return int(math.prod(shape) * np.dtype(dtype).itemsize) if dtype is not None else 0


def made_by(row: Row) -> int:
    """The bytes of memory that an op's result takes: none for a view of what is there."""
    return 0 if _is_view(row) or row.is_leaf else bytes_of(row.shape, row.dtype)


def saved_by(rows: Sequence[Row], nodes: Mapping[int, Node | Leaf]) -> dict[int, int]:
    """By slot, the bytes that the tape keeps for the backward pass, at the op that made them.

    Each array counts once, also where several gradient rules read it or views of it. The arrays of leaves do not
    count: they exist without the tape.
    """
    owned: set[int] = set()
    for node in nodes.values():
        tensor = node.tensor() if isinstance(node, Leaf) else None
        if tensor is not None:
            owned.add(id(owner_of(tensor.array)))
    found: dict[int, int] = {}
    for row in rows:
        node = nodes[row.slot]
        if not isinstance(node, Node):
            continue
        for slot, value in zip(row.args, node.saved or (), strict=False):
            if isinstance(value, np.ndarray) and id(owner := owner_of(value)) not in owned:
                slot = _origin(rows, slot)
                if not rows[slot].is_leaf:
                    owned.add(id(owner))
                    found[slot] = found.get(slot, 0) + owner.nbytes
        for value in node.out if isinstance(node.out, tuple) else (node.out,):
            if isinstance(value, np.ndarray) and id(owner := owner_of(value)) not in owned:
                owned.add(id(owner))
                found[row.slot] = found.get(row.slot, 0) + owner.nbytes
    return found


def _is_view(row: Row) -> bool:
    op = OPS.get(row.op)
    return row.op == "pick" if op is None else op.views


def _origin(rows: Sequence[Row], slot: int) -> int:
    """The slot whose memory a view shows."""
    while _is_view(rows[slot]):
        slot = rows[slot].args[0]
    return slot
