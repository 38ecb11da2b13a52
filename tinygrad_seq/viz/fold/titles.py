"""Titles of boxes of ops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tinygrad_seq.viz.graph import fingerprints
from tinygrad_seq.viz.graph.model import MOVES, Node

_SIGMOID = ("lesser", "less", "add")
_MOST_NAMED = 3


def summary(members: Sequence[Node], count: int = 1) -> str:
    """The ops of a box as a text, the most expensive first: `matmul, lstm_gates, 3 more`."""
    costs: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for m in members:
        costs[m.op] += m.flops + (1 if m.op not in MOVES else 0)
        times[m.op] += 1
    named = sorted(costs, key=lambda op: -costs[op])
    parts = [op if times[op] <= count else f"{round(times[op] / count)} {op}" for op in named[:_MOST_NAMED]]
    rest = sum(times[op] for op in named[_MOST_NAMED:])
    if rest:
        parts.append(f"{round(rest / count) or 1} more")
    return ", ".join(parts)


def common_detail(members: Sequence[Node]) -> str:
    """What belongs to an op that runs at every step: with `t` where it depends on the step."""
    if len({m.detail for m in members}) == 1:
        return members[0].detail
    told = {tuple(word for _, word in fingerprints.told(m.detail, m.t or 0)) for m in members}
    return f"[{', '.join(told.pop())}]" if len(told) == 1 else "…"


def chain_name(members: Sequence[Node]) -> tuple[str, str]:
    """What a chain of ops is called, and its detail: `sigmoid` where it is one."""
    doing = [m for m in members if m.op not in MOVES]
    detail = next((m.detail for m in members if m.op == "slice"), "")
    ops = tuple(m.op for m in doing)
    for start in range(len(ops)):
        if ops[start : start + 3] == _SIGMOID:
            names = [*ops[:start], "sigmoid", *ops[start + 3 :]]
            return " · ".join(names), detail
    if not doing:
        return " · ".join(m.op for m in members), detail
    if len(doing) == 1:
        return doing[0].op, " ".join(part for part in (detail, doing[0].detail) if part)
    return " · ".join(
        ops if len(ops) <= _MOST_NAMED + 1 else (*ops[:_MOST_NAMED], f"{len(ops) - _MOST_NAMED} more")
    ), detail
