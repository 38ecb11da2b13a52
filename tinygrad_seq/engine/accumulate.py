"""Gradient accumulation: contributions are summed as they come, those of slices at their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine import ops
from tinygrad_seq.engine.apply import Recorded
from tinygrad_seq.runtime.sums import BLOCK, matmul

# Products wait until they have this many rows together: enough for a matrix library to be efficient.
MOST_ROWS = 2048
# How many rows of a part of an array make it worth a look at the whole: see `add_part`.
SHARE = 16


class Arrivals:
    """The accumulated gradients, by node.

    Full contributions are summed as they come, from the second on in a buffer of our own. The gradient of a slice has
    only a part of the elements: arrays are added to the buffer in place; Tensors wait in `parts` and become one
    concat where they tile an axis. Otherwise a loop over `xs[t]` would make T arrays of full size.

    No running sum takes more than `sums.BLOCK` of them: after so many it is put by in `heaps`, in float64, and
    the next starts anew. A weight that is used in 100,000 steps would else lose half of its digits.
    """

    __slots__ = ("counts", "heaps", "mine", "parts", "products", "rows", "sums")

    def __init__(self) -> None:
        self.sums: dict[Any, Any] = {}
        self.mine: set[Any] = set()
        self.parts: dict[Any, list[tuple[Any, Any]]] = {}
        self.products: dict[Any, list[tuple[Any, Any]]] = {}
        self.rows: dict[Any, int] = {}
        self.counts: dict[Any, int] = {}
        self.heaps: dict[Any, Any] = {}

    def add(self, node: Any, g: Any, fresh: bool = False) -> None:
        """A contribution of full shape; a `fresh` array has no other owner."""
        before = self.sums.get(node)
        if before is None:
            self.sums[node] = g
            if fresh:
                self.mine.add(node)
            return
        if node in self.mine:
            np.add(before, g, out=before)
        else:
            total = self.sums[node] = before + g
            if type(total) is np.ndarray:
                self.mine.add(node)
        count = self.counts[node] = self.counts.get(node, 0) + 1
        if count >= BLOCK:
            self.put_by(node)

    def put_by(self, node: Any) -> None:
        """Move the sum so far to the heap, and start the next at 0."""
        self.counts[node] = 0
        heap, g = self.heaps.get(node), self.sums[node]
        if not isinstance(g, Recorded):
            g = np.asarray(g, np.float64)
        self.heaps[node] = g if heap is None else heap + g
        self.sums[node] = None
        self.mine.discard(node)

    def gathered(self, node: Any, g: Any) -> Any:
        """Remove and return the sum of a node's heap and its running sum, in the node's dtype."""
        heap = self.heaps.pop(node)
        total = heap if g is None else heap + g
        if isinstance(total, Recorded):
            return total
        self.mine.add(node)
        return np.array(total, node.dtype)

    def add_product(self, node: Any, x: Any, g: Any) -> None:
        """A contribution x^T g: those of a weight that is used at every step become one product.

        The sum of x_t^T g_t is X^T G with all rows below each other: the same numbers, in one large product that is
        much faster than many small ones and their sums.
        """
        self.sums.setdefault(node, None)
        self.products.setdefault(node, []).append((x, g))
        self.rows[node] = self.rows.get(node, 0) + len(x)
        if self.rows[node] >= MOST_ROWS:
            self.multiply(node)

    def multiply(self, node: Any) -> None:
        """Carry out the products that wait for a node."""
        pairs = self.products.pop(node)
        self.rows[node] = 0
        x, g = pairs[0] if len(pairs) == 1 else (np.concatenate(side) for side in zip(*pairs, strict=True))
        self.add(node, matmul(x.T, g), True)

    def add_part(self, node: Any, g: Any, index: Any) -> None:
        """A contribution to the part of the node's value at `index`."""
        if isinstance(g, Recorded):
            self.parts.setdefault(node, []).append((g, index))
            self.sums.setdefault(node, None)
            return
        buffer = self.sums.get(node)
        if node not in self.mine:
            buffer = np.zeros(node.shape, node.dtype) if buffer is None else np.array(buffer)
            self.sums[node] = buffer
            self.mine.add(node)
        buffer[index] += g  # type: ignore[index]
        # Parts that tile the array are no long sum, and checking the whole array after each would take too long.
        count = self.counts[node] = self.counts.get(node, 0) + 1
        if count >= BLOCK and count >= SHARE * (buffer.size // max(g.size, 1)):  # type: ignore[union-attr]
            self.put_by(node)

    def take(self, node: Any) -> Any:
        """Remove and return the whole gradient of a node, or None."""
        if node in self.parts:
            for g in _laid_end_to_end(self.parts.pop(node), node.shape):
                self.add(node, g)
        g = self.sums.pop(node, None)
        return self.gathered(node, g) if node in self.heaps else g


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
