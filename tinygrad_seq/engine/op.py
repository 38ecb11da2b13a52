"""`Op`, a primitive, and `define`, which adds one to the set of primitives.

No code decides by the name of an op: everything that recording, the backward pass, the fuser and the pictures
need is a property here, set where the op is defined. No tensor type is imported: a type that records itself
adds itself to `Op.recorders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tinygrad_seq.engine.propagate import by_rules, jointly
from tinygrad_seq.errors import DTypeError

Rule = Callable[..., Any]
Plan = tuple[tuple[int, ...], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """A primitive: `forward` maps arrays to an array, `rules[i]` the output's gradient to that of input i.

    `reads[i]` names what rule i reads, by place among the inputs, -1 for the output. `kind` is the op's family: map,
    reduce, move, index, matmul, random, call. `active` are the existing rules, each with its place.

    >>> from tinygrad_seq.engine import ops
    >>> ops.mul.reads, ops.mul.symmetric, ops.less.active
    (((1,), (0,)), True, ())
    """

    name: str
    forward: Callable[..., Any]
    kind: str
    rules: tuple[Rule | None, ...] = ()
    reads: tuple[tuple[int, ...], ...] = ()
    active: tuple[tuple[int, Rule], ...] = field(init=False)

    # ---- gradients ---------------------------------------------------------------------------------------
    joint_vjp: Rule | None = None
    """In place of `rules`, all gradients by one call: `joint_vjp(wanted, gs, outs, *inputs, **settings)` returns one
    gradient (or None) per input."""
    joint_reads: tuple[int, ...] = ()
    """What `joint_vjp` reads, by place."""
    traced_vjp: Rule | None = None
    """`traced_vjp(node, wanted, gs)`: the joint rule for Tensors where that is another; its result is recorded."""
    owned: bool = False
    """What `joint_vjp` returns are arrays that nobody else holds."""
    propagate: Callable[..., None] = None  # type: ignore[assignment]
    """How the backward pass sends a gradient on: one of `engine.propagate`, by the rules where there are any."""
    always_recorded: bool = False
    """On the tape though no gradient flows."""
    part: str = ""
    """The setting that says which part of its one input the result is: that part's gradient is g itself."""

    # ---- recording -----------------------------------------------------------------------------------------
    floating: bool = False
    """Integers become float32 first."""
    exact: bool = False
    """Integers of two dtypes are taken as they are: a common dtype may not hold both."""
    promotes: int | None = None
    """Of an op with any number of inputs: those from this place on are brought to one dtype."""
    refuses_lists: bool = False
    """A list beside a tensor is an error: Python itself would repeat it, or say that it differs."""
    composite: bool = False
    """The forward pass is a function of ops, each of which runs in its own right."""
    views: bool = False
    """The result may be a part of the input's memory; nothing in it is computed."""

    # ---- readers: kernels, pictures ------------------------------------------------------------------------------
    moves: bool = False
    """The numbers of its one input in another shape, place or dtype."""
    free: bool = False
    """It does no arithmetic, though it goes through all numbers."""
    symmetric: bool = False
    """Its two inputs may change places."""
    fusible: bool = True
    """A kernel over rows and columns can hold it."""
    own_columns: bool = False
    """Its result's columns have other places than its inputs'."""
    cost: float = 0.0
    """Nanoseconds an element in a float32 kernel, as measured, where it is better kept than computed again."""
    vanishes: Callable[[Sequence[bool]], bool] | None = None
    """From which inputs are zero, whether the result is."""

    plans: dict[tuple[bool, ...], Plan] = field(default_factory=dict, repr=False)
    recorders: ClassVar[dict[type, Callable[..., Any]]] = {}

    def __post_init__(self) -> None:
        rules = tuple((i, rule) for i, rule in enumerate(self.rules) if rule)
        object.__setattr__(self, "active", rules)
        if self.propagate is None:
            object.__setattr__(self, "propagate", by_rules if rules else jointly)

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """The op's value; recorded where an input is of a type that records itself."""
        for x in inputs:
            recorder = Op.recorders.get(type(x))
            if recorder is not None:
                return recorder(self, inputs, settings)
        try:
            return self.forward(*inputs, **settings)
        except TypeError as error:
            operands = {f"x{i}": x for i, x in enumerate(inputs)}
            rule = f"Python says: {error}"
            raise DTypeError(f"{self.name}: the arguments do not fit", operands, rule) from None

    def plan(self, wants: tuple[bool, ...]) -> Plan:
        """For inputs that require a gradient or not: (places the rules read, whether any gradient flows)."""
        answer = self.plans.get(wants)
        if answer is None:
            if self.joint_vjp is not None:
                read, flows = set(self.joint_reads), any(wants)
            else:
                live = [i for i, rule in self.active if wants[i]]
                read, flows = {p for i in live for p in self.reads[i]}, bool(live)
            answer = self.plans[wants] = (tuple(sorted(read)) if flows else (), flows)
        return answer


OPS: dict[str, Op] = {}


def define(
    name: str, forward: Callable[..., Any], kind: str, *rules: Rule | None, reads: str = "", **properties: Any
) -> Op:
    """Enter a primitive. `reads` lists words for each rule, between bars: `"y | x"`; `out` is the output.

    The other keywords are properties of `Op`.
    """
    wanted = reads.split("|") + [""] * len(rules)
    places = tuple(
        tuple(-1 if word == "out" else rule.__code__.co_varnames.index(word) - 2 for word in words.split())
        if rule
        else ()
        for rule, words in zip(rules, wanted, strict=False)
    )
    op = OPS[name] = Op(name, forward, kind, rules, places, **properties)
    return op
