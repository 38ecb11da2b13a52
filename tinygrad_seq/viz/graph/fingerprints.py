"""Signatures of time steps and blocks, without their number: those with equal signatures can be drawn as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tinygrad_seq.viz.graph.clusters import Path, step_of
from tinygrad_seq.viz.graph.dataflow import Line, Wiring
from tinygrad_seq.viz.graph.model import DATA, PARAMETER, Node

Loop = tuple[Path, int]
_RANGE = re.compile(r"^(-?\d+):(-?\d+)$")


@dataclass(frozen=True)
class Print:
    """A signature: what must be equal, and words that must be equal as they are or as they depend on the step."""

    fixed: Any
    words: tuple[tuple[str, str], ...]

    def like(self, other: Print) -> bool:
        """True where both are signatures of the same thing."""
        if self.fixed != other.fixed or len(self.words) != len(other.words):
            return False
        return all(a[0] == b[0] or a[1] == b[1] for a, b in zip(self.words, other.words, strict=True))


class Parts:
    """Ops sorted into parts of the same kind: the steps of loops, or the blocks of a stack.

    `where[op]` is (which loop or stack, which step or block of it); `place[op]` its number within.
    """

    def __init__(self, wiring: Wiring, where: dict[int, tuple[Any, int]]):
        self.wiring, self.where = wiring, where
        self.members: dict[tuple[Any, int], list[Node]] = {}
        self.place: dict[int, int] = {}
        for n in wiring.ops():
            at = where.get(n.id)
            if at is not None and n.id not in wiring.sums:
                inside = self.members.setdefault(at, [])
                self.place[n.id] = len(inside)
                inside.append(n)

    def wholes(self) -> dict[Any, list[int]]:
        """The numbers of the parts of each loop or stack, rising."""
        found: dict[Any, list[int]] = {}
        for whole, number in self.members:
            found.setdefault(whole, []).append(number)
        return {whole: sorted(numbers) for whole, numbers in found.items()}

    def signature(self, whole: Any, number: int, like: Callable[[Node], Any], depth: int) -> Print:
        """The signature of a part. `like` names a parameter; `depth` is that of the part's box."""
        wiring, found = self.wiring, []
        tokens: list[tuple[str, str]] = []
        inside: dict[int, tuple[str, ...]] = {}
        for n in self.members[whole, number]:
            path = wiring.path(n.id)
            inner = inside.get(id(path))
            if inner is None:
                inner = inside[id(path)] = tuple([c.label for c in path[depth:]])
            args = tuple(self._source(line, whole, number, like) for line in wiring.into.get(n.id, ()))
            outs = {self._reader(line, whole) for line in wiring.out_of.get(n.id, ())}
            found.append((n.op, n.shape, n.dtype, inner, args, frozenset(outs), bool(n.result)))
            if n.detail:
                tokens += told(n.detail, number)
        return Print(tuple(found), tuple(tokens))

    def _source(self, line: Line, whole: Any, number: int, like: Callable[[Node], Any]) -> Any:
        node = self.wiring.nodes[line.src]
        at = self.where.get(line.src)
        if line.src in self.wiring.sums:
            return line.arg, line.kind, "sum"
        if at is not None and at[0] == whole and line.src in self.place:
            return line.arg, line.kind, at[1] - number, self.place[line.src], line.out
        root = self.wiring.turned.get(line.src, line.src)
        if self.wiring.nodes[root].phase == PARAMETER:
            return line.arg, line.kind, like(self.wiring.nodes[root]), node.op, node.detail, node.shape
        if node.phase == DATA:
            return line.arg, line.kind, node.op, node.shape, node.dtype
        # Another loop's step counts by its distance.
        away = at[1] - number if at is not None else None
        return line.arg, line.kind, node.op, node.path, away, line.out

    def _reader(self, line: Line, whole: Any) -> Any:
        at = self.where.get(line.dst)
        if line.dst in self.wiring.sums:
            return "sum", self.wiring.nodes[self.wiring.sums[line.dst]].path
        if at is not None and at[0] == whole:
            return "inside"
        dst = self.wiring.nodes[line.dst]
        return dst.op, dst.path


def steps(wiring: Wiring) -> Parts:
    """The steps of all loops."""
    where = {}
    for op, path in wiring.paths.items():
        step = step_of(path)
        if step is not None:
            where[op] = ((step[:-1], step[-1].run), step[-1].first)
    return Parts(wiring, where)


def told(detail: str, step: int) -> list[tuple[str, str]]:
    """The properties of an op, word by word, each also with the step's own number written as `t`.

    >>> told("[7, 0:4]", 7), told("[14:16]", 7)
    ([('7', 't'), ('0:4', '0:4')], [('14:16', 't*2')])
    """
    if not detail.startswith("["):
        return [(detail, detail)]
    return [(token, _told(token, step)) for token in detail[1:-1].split(", ")]


def _told(token: str, step: int) -> str:
    if token in (str(step), str(step - 1), str(step + 1)):
        return f"t{int(token) - step:+d}" if int(token) != step else "t"
    bounds = _RANGE.match(token)
    if bounds:
        start, stop = int(bounds[1]), int(bounds[2])
        if stop > start and start == step * (stop - start):
            return f"t*{stop - start}"
    return token


def runs(numbers: list[int], signatures: Iterable[Print], kept: set[int]) -> list[list[int]]:
    """Neighbours with equal signatures, at least two, none of them in `kept`; the first two and the last never.

    >>> a, b = Print("a", ()), Print("b", ())
    >>> runs([0, 1, 2, 3, 4, 5], [a, a, a, a, b, a], set()), runs([0, 1, 2, 3, 4, 5], [a] * 6, {3})
    ([[2, 3]], [])
    """
    shown = {*numbers[:2], numbers[-1], *kept} if numbers else set()
    found: list[list[int]] = []
    before: Print | None = None
    for number, signature in zip(numbers, signatures, strict=True):
        if number in shown:
            before = None
        elif before is not None and signature.like(before):
            found[-1].append(number)
            before = signature
        else:
            found.append([number])
            before = signature
    return [run for run in found if len(run) > 1]
