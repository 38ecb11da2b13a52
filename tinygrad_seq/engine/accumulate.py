"""The gradients on their way: summed as they come, those of slices put where they belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import Recorded
from tinygrad_seq.runtime.sums import BLOCK, matmul

# Products wait until they have this many rows together: enough for a matrix library to be at its best.
MOST_ROWS = 2048
# How many rows of a part of an array make it worth a look at the whole: see `Sum.add_slice`.
SHARE = 16


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` summed over the axes along which an array of `shape` was stretched: broadcasting undone."""
    extra = len(g.shape) - len(shape)
    if extra:
        g = ops.sum_(g, axis=tuple(range(extra)), keepdims=False)
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1)
    return ops.sum_(g, axis=stretched, keepdims=True) if stretched else g


class Pending:
    """The gradients that have arrived so far, by node: the first contribution itself, from the second on a `Sum`.

    `owned` are the nodes whose gradient is an array without another owner.
    """

    __slots__ = ("by_node", "owned")

    def __init__(self) -> None:
        self.by_node: dict[Any, Any] = {}
        self.owned: set[Any] = set()

    def add(self, node: Any, g: Any, owned: bool = False) -> Any:
        """Add a contribution, and return it in the node's shape; an `owned` array has no other owner."""
        if g.shape != node.shape:
            g = unbroadcast(g, node.shape)
        if owned or node in self.by_node:
            self._sum(node).add(g, owned)
        else:
            self.by_node[node] = g
        return g

    def add_slice(self, node: Any, g: Any, index: Any) -> None:
        """Add a contribution to the part of the node's value at `index`."""
        self._sum(node).add_slice(g, index)

    def add_product(self, node: Any, x: Any, g: Any) -> None:
        """Add a contribution x^T g."""
        self._sum(node).add_product(x, g)

    def add_output(self, node: Any, i: int, g: Any) -> None:
        """Add to the gradient of output i of an op with several outputs: they wait as one list."""
        waiting = self.by_node.setdefault(node, [None] * len(node.shape))
        waiting += [None] * (i + 1 - len(waiting))  # a fused op has outputs that only its gradient sees
        waiting[i] = g if waiting[i] is None else waiting[i] + g

    def pop(self, node: Any) -> Any:
        """The whole gradient of a node, or None; it is forgotten here."""
        g = self.by_node.pop(node, None)
        if type(g) is not Sum:
            return g
        total = g.total()
        if g.owned:
            self.owned.add(node)
        return total

    def _sum(self, node: Any) -> Sum:
        before = self.by_node.get(node)
        if type(before) is Sum:
            return before
        made = self.by_node[node] = Sum(node, before)
        return made


class Sum:
    """The contributions to one node.

    Full contributions are summed as they come, from the second on in a buffer of our own. What comes through
    a slice touches only a part: arrays are added to the buffer in place; Tensors wait in `parts` and become
    one concat where they tile an axis. A loop over `xs[t]` would else make T arrays of full size.

    No running sum takes more than `sums.BLOCK` of them: after so many it is put by in `heap`, in float64, and
    the next starts anew. A weight that is used in 100,000 steps would else lose half of its digits.
    """

    __slots__ = ("count", "dtype", "heap", "owned", "parts", "products", "rows", "shape", "value")

    def __init__(self, node: Any, value: Any):
        self.shape, self.dtype = node.shape, node.dtype
        self.value, self.owned, self.count = value, False, 0
        self.heap: Any = None
        self.parts: list[tuple[Any, Any]] = []
        self.products: list[tuple[Any, Any]] = []
        self.rows = 0

    def add(self, g: Any, owned: bool = False) -> None:
        """A contribution of full shape."""
        if self.value is None:
            self.value, self.owned = g, owned
            return
        if self.owned:
            np.add(self.value, g, out=self.value)
        else:
            self.value = self.value + g
            self.owned = type(self.value) is np.ndarray
        self.count += 1
        if self.count >= BLOCK:
            self._put_by()

    def add_slice(self, g: Any, index: Any) -> None:
        """A contribution to a part."""
        if isinstance(g, Recorded):
            self.parts.append((g, index))
            return
        if not self.owned:
            self.value = np.zeros(self.shape, self.dtype) if self.value is None else np.array(self.value)
            self.owned = True
        self.value[index] += g
        # Parts that tile the array are no long sum, and to look at the whole after each would take too long.
        self.count += 1
        if self.count >= BLOCK and self.count >= SHARE * (self.value.size // max(g.size, 1)):
            self._put_by()

    def add_product(self, x: Any, g: Any) -> None:
        """A contribution x^T g: those of a weight that is used at every step become one product.

        The sum of x_t^T g_t is X^T G with all rows laid below each other: the same numbers, in one large product
        that is much quicker than many small ones and their sums.
        """
        self.products.append((x, g))
        self.rows += len(x)
        if self.rows >= MOST_ROWS:
            self._multiply()

    def total(self) -> Any:
        """The whole sum, in the node's dtype."""
        if self.products:
            self._multiply()
        if self.parts:
            for g in _laid_end_to_end(self.parts, self.shape):
                self.add(g)
        if self.heap is None:
            return self.value
        total = self.heap if self.value is None else self.heap + self.value
        if isinstance(total, Recorded):
            return total
        self.owned = True
        return np.array(total, self.dtype)

    def _multiply(self) -> None:
        pairs, self.products, self.rows = self.products, [], 0
        x, g = pairs[0] if len(pairs) == 1 else (np.concatenate(side) for side in zip(*pairs, strict=True))
        self.add(matmul(x.T, g), True)

    def _put_by(self) -> None:
        g = self.value if isinstance(self.value, Recorded) else np.asarray(self.value, np.float64)
        self.heap = g if self.heap is None else self.heap + g
        self.value, self.owned, self.count = None, False, 0


def _laid_end_to_end(parts: list[tuple[Any, Any]], shape: tuple[int, ...]) -> list[Any]:
    """Parts that tile one axis as a single concat, others as one pad each."""
    spans = [_span(index, shape) for _, index in parts]
    tiles = sorted((span, i) for i, span in enumerate(spans) if span)
    if len(tiles) == len(parts) and len({span[0] for span, _ in tiles}) == 1:
        axis = tiles[0][0][0]
        stops = [0, *(span[2] for span, _ in tiles)]
        starts = [*(span[1] for span, _ in tiles), shape[axis]]
        if stops == starts:
            sizes = [(*shape[:axis], stop - start, *shape[axis + 1 :]) for (_, start, stop), _ in tiles]
            whole = [ops.reshape(parts[i][0], shape=size) for (_, i), size in zip(tiles, sizes, strict=True)]
            return [ops.concat(*whole, axis=axis)]
    return [ops.pad(g, index=index, shape=shape) for g, index in parts]


def _span(index: Any, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(axis, start, stop) of an index that takes one range of one axis and all of the others, else None."""
    found = None
    for axis, i in enumerate(index):
        if isinstance(i, slice):
            start, stop, step = i.indices(shape[axis])
            if step != 1 or stop < start:
                return None
            if (start, stop) == (0, shape[axis]):
                continue
        elif isinstance(i, int):
            start = i % shape[axis]
            stop = start + 1
        else:
            return None
        if found:
            return None
        found = (axis, start, stop)
    return found
