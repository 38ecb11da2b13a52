"""`detect_anomaly`: the first NaN or infinity, reported where it arose and with the growth that led there."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_seq.engine.checkpointing import CHECKPOINT
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.node import PICK, STATE, Leaf, Node
from tinygrad_seq.engine.op import Op
from tinygrad_seq.engine.place import Place
from tinygrad_seq.errors import NonFiniteError
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.runtime.weakrefs import WeakMap

__all__ = ["detect_anomaly"]

_LONGEST_CHAIN = 8

# Hints only for ops whose usual cause is certain.
_WAYS_OUT = {
    "exp": "Subtract the largest value first, as softmax does, or clip the argument.",
    "log": "Keep the argument above 0: log(x + 1e-6), or log_softmax(x) for log(softmax(x)).",
    "div": "Keep the divisor away from 0.",
    "sqrt": "Keep the argument above 0: at 0 the slope is infinite, below it there is no root.",
}


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Raise NonFiniteError at the first op, forward or backward, whose result holds a NaN or an infinity.

    The error names the op, its scope and time step, counts the elements at fault, and lists the inputs with
    their largest |x| and the chain of largest values that led there. Inputs and constants may be infinite; an
    op applied to them on purpose (a mask of -inf, log of 0) is reported all the same. Works as a `with` block
    and as a decorator, for the thread it runs in; NumPy's own warnings are silent inside. Each result is
    read twice, so use it to search, not to train.

    >>> import tinygrad_seq as tgs
    >>> x = tgs.tensor([1.0, 100.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     y = x.exp()
    Traceback (most recent call last):
        ...
    tinygrad_seq.errors.NonFiniteError: exp: 1 of 2 elements is +inf in the forward pass.
      x: f32(2,)   largest |x| 1e+02
      expected finite numbers; the inputs were finite.
      growth before it: param  1e+02 -> exp  inf
      Subtract the largest value first, as softmax does, or clip the argument.
    """
    before = STATE.watch
    STATE.watch = before or Watcher()
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    finally:
        STATE.watch = before


class Watcher:
    """The largest magnitude that each node has shown, forward and backward, for as long as the node lives."""

    def __init__(self) -> None:
        self.sizes: WeakMap[float] = WeakMap()
        # For nodes that the backward pass has not reached, the largest contribution to their gradient and its
        # source; for the others the whole gradient.
        self.pending: WeakMap[tuple[Any, Any]] = WeakMap()
        self.arrivals: WeakMap[tuple[Any, Any]] = WeakMap()

    def made(self, node: Node | Leaf | None, op: Op, inputs: Sequence[Any], out: Array) -> None:
        """An op ran. Inside a gradient rule that is being recorded only the returned gradient is checked, not the
        steps.
        """
        size = size_of(out)
        if node is not None:
            self.sizes[node] = max(size, self.sizes.get(node, 0.0))
            for x in inputs:
                if isinstance(x.node, Leaf):
                    self.sizes[x.node] = np.nan_to_num(size_of(x.array), nan=np.inf, posinf=np.inf)
        if np.isfinite(size) or STATE.place.phase == "backward":
            return
        sizes = [size_of(x.array) for x in inputs]
        names = _names(op, len(inputs))
        told = {name: _measured(name, x, s) for name, x, s in zip(names, inputs, sizes, strict=False)}
        bad = [name for name, s in zip(names, sizes, strict=False) if not np.isfinite(s)]
        expected = f"{' and '.join(bad)} held some before." if bad else "the inputs were finite."
        chain = [*self._forward_chain([x.node for x in inputs]), _entry_text(op.name, STATE.place, size)]
        raise NonFiniteError(
            f"{op.name}: {_count(out)} in the {_pass('forward', STATE.place)}",
            told,
            f"expected finite numbers; {expected}{_growth(chain)}",
            "" if bad else _WAYS_OUT.get(op.name, ""),
        )

    def sent(self, node: Node, parent: Node | Leaf, g: Any, dx: Any) -> None:
        """The rule of a node computed `dx`, the gradient of a parent, from `g`, that of its result."""
        dx = _values(dx)
        size = size_of(dx)
        self._expect(parent, size, node)
        if np.isfinite(size):
            return
        arrived = {f"g{i}": x for i, x in enumerate(g) if x is not None} if isinstance(g, list) else {"g": g}
        told = {name: _incoming(name, _values(x)) for name, x in arrived.items()}
        bad = [name for name, x in arrived.items() if not np.isfinite(size_of(_values(x)))]
        rule = f"what came in was finite, the rule of {node.op.name} made them."
        expected = f"{' and '.join(bad)} held some before." if bad else rule
        chain = [*self._backward_chain(node), _entry(parent, size)]
        where = f"in the gradient it sends back ({_pass('backward', node.place)})"
        raise NonFiniteError(
            f"{node.op.name}: {_count(dx)} {where}",
            {**told, "flows to": _Told(parent, _origin(parent))},
            f"expected finite numbers; {expected}{_growth(chain)}",
            "" if bad else _WAYS_OUT.get(node.op.name, ""),
        )

    def _expect(self, parent: Node | Leaf, size: float, source: Node) -> None:
        if size >= self.pending.get(parent, (0.0, None))[0]:
            # Weak, because a parameter outlives the graph of each step.
            self.pending[parent] = (size, weakref.ref(source))

    def arrived(self, node: Node | Leaf, g: Any) -> None:
        """The gradient of a node is complete: the sum of all contributions, or the cotangent of a root."""
        largest, source = self.pending.pop(node, (None, None))
        if isinstance(g, list):  # the outputs of one op, each of which was checked at its pick
            self.arrivals[node] = (largest or 0.0, source)
            return
        g = _values(g)
        size = size_of(g)
        self.arrivals[node] = (size, source)
        if isinstance(node, Node) and node.op is PICK:
            self._expect(node.parents[0], size, node)
        if np.isfinite(size) or (largest is None and not node.hooks):
            return
        cause = "a hook changed it, or their sum is too large." if node.hooks else "their sum is too large."
        where = f"in the gradients that meet at one tensor ({_pass('backward', node.place)})"
        raise NonFiniteError(
            f"backward: {_count(g)} {where}",
            {"tensor": _Told(node, _origin(node))},
            f"expected finite numbers; the largest that came in was {largest or 0.0:.2g}: {cause}"
            f"{_growth(self._backward_chain(node))}",
        )

    def _forward_chain(self, nodes: Sequence[Any]) -> list[str]:
        """The chain of the largest values, oldest first."""
        chain: list[str] = []
        while len(chain) < _LONGEST_CHAIN - 1:
            known = [(self.sizes.get(n, -1.0), n) for n in _makers(nodes)]
            size, node = max(known, key=lambda pair: pair[0], default=(-1.0, None))
            if node is None or size < 0:
                break
            if not _only_moves(node):
                chain.append(_entry(node, size))
            nodes = node.parents
        return chain[::-1]

    def _backward_chain(self, node: Node | Leaf) -> list[str]:
        """The chain of the largest gradients to a node, in the order of the backward pass."""
        chain: list[str] = []
        at: Any = node
        while at is not None and at in self.arrivals and len(chain) < _LONGEST_CHAIN - 1:
            size, source = self.arrivals[at]
            if at is node or not _only_moves(at):
                chain.append(_entry(at, size))
            at = source() if source is not None else None
        return chain[::-1]


def _values(x: Any) -> Array:
    """The numbers of an array, or of a tensor that may be on a tape itself."""
    return np.asarray(getattr(x, "array", x))


def size_of(array: Array) -> float:
    """The largest |x|; NaN if there is one, 0 for integers and for an empty array."""
    if array.dtype.kind != "f" or not array.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        return float(np.maximum(array.max(), -array.min()))


class _Told:
    """An operand in an error text: dtype, shape and a remark."""

    def __init__(self, value: Any, remark: str):
        self.shape, self.dtype, self.origin = value.shape, value.dtype, remark


def _measured(name: str, x: Any, size: float) -> _Told:
    remarks = [x.origin, f"largest |{name}| {size:.2g}" if x.dtype.kind == "f" else ""]
    return _Told(x, ", ".join(filter(None, remarks)))


def _incoming(name: str, g: Array) -> _Told:
    return _Told(g, f"gradient of its result, largest |{name}| {size_of(g):.2g}")


def _names(op: Op, count: int) -> list[str]:
    if op.name == "where":
        return ["condition", "x", "y"]
    return [("x", "y", "z")[i] if i < 3 else f"x{i}" for i in range(min(count, 8))]


def _count(array: Array) -> str:
    kinds = (("NaN", np.isnan(array)), ("+inf", np.isposinf(array)), ("-inf", np.isneginf(array)))
    found = [(int(np.count_nonzero(hit)), kind) for kind, hit in kinds]
    found = [(n, kind) for n, kind in found if n]
    total = sum(n for n, _ in found)
    are = f"{total} of {array.size} elements {'is' if total == 1 else 'are'}"
    if len(found) == 1:
        return f"{are} {found[0][1]}"
    return f"{are} not finite, {' and '.join(f'{n} {kind}' for n, kind in found)},"


def _pass(phase: str, place: Place) -> str:
    return f"{phase} pass, {Place(place.scope, place.step)}".removesuffix(", ")


def _label(node: Node | Leaf) -> str:
    if isinstance(node, Node):
        return node.op.name
    return node.name or ("param" if node.wants else "input" if node.value is None else "const")


def _origin(node: Node | Leaf) -> str:
    if isinstance(node, Node):
        return f"from {node.op.name} {node.place}".rstrip()
    return f"parameter {node.name!r}" if node.wants and node.name else _label(node)


def _entry(node: Node | Leaf, size: float) -> str:
    return _entry_text(_label(node), node.place, size)


def _entry_text(label: str, place: Place, size: float) -> str:
    step = "" if place.step is None else f" step {place.step}"
    return f"{label}{step}  {size:.2g}"


def _growth(chain: Sequence[str]) -> str:
    return f"\n  growth before it: {' -> '.join(chain)}" if len(chain) > 1 else ""


def _only_moves(node: Node | Leaf) -> bool:
    """Whether a node only moves values, so that nothing can grow there."""
    return node.op is not None and node.op.kind in ("move", "pick")


def _makers(nodes: Sequence[Any]) -> list[Any]:
    """The nodes, but for a pick what it picks from, and for a checkpoint what went in."""
    makers, todo = [], [n for n in nodes if n is not None]
    for n in todo:  # grows during the loop
        if n.op is PICK or n.op is CHECKPOINT:
            todo.extend(n.parents)
        else:
            makers.append(n)
    return makers


answer(globals(), "detect_anomaly")
