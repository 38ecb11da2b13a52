"""The place of a value in the model and in the sequence, and its names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the model and when in the sequence an op ran: scope path, time step, pass."""

    scope: str = ""
    step: int | None = None
    phase: str = "forward"

    def backward(self) -> Place:
        """The same place in the backward pass."""
        return Place(self.scope, self.step, "backward")

    def __str__(self) -> str:
        parts = [f"in {self.scope}"] if self.scope else []
        if self.step is not None:
            parts.append(f"step {self.step}")
        if self.phase != "forward":
            parts.append("backward pass")
        return ", ".join(parts)


@dataclass(slots=True)
class Marks:
    """The user's name, the layer's role, and the functions whose result this is, the innermost first.

    A function that ran as its composition has its name and the creation index before its first op.
    """

    name: str = ""
    role: str = ""
    made: tuple[tuple[str, int], ...] = ()
