"""What a run is made of, as arrays and plain values, and a run from them: exactly the one that was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_seq.data import Batch
from tinygrad_seq.engine.tensor import Tensor, wrap
from tinygrad_seq.runtime.arrays import Array
from tinygrad_seq.training.budget import lasted
from tinygrad_seq.training.events import Step
from tinygrad_seq.training.run_folder import BEST, LAST
from tinygrad_seq.training.step import Learner, Window

if TYPE_CHECKING:
    from tinygrad_seq.training.trainer import Course

__all__ = ["Arrays", "course_state", "learner_state", "restore_course", "restore_learner"]

Arrays = dict[str, Array]
_OF_THE_MOMENT = ("flow", "left_range", "note")  # of a step: made anew, or told when it was made


def course_state(course: Course) -> tuple[Arrays, dict[str, Any]]:
    """Of a run with a folder: its learner, what was seen of it so far, and what is still to be done."""
    assert course.folder is not None
    arrays, learnt = learner_state(course.learner)
    step = course.step and {
        field.name: getattr(course.step, field.name)
        for field in fields(Step)
        if field.name not in _OF_THE_MOMENT
    }
    facts = {
        "learner": learnt,
        "sampling": course.sampling.state_dict(),
        "sha256": course.text.sha256,
        "from": course.run_from,
        "validation": course.validation,
        "error": course.error,
        "best": course.best,
        "best_step": course.best_step,
        "waited": course.waited,
        "divergence": course.divergence.state_dict(),
        "losses": course.losses,
        "step": step,
        "chores": course.chores,
        "seconds": course.plan.elapsed(),
        "sizes": course.folder.sizes(),
    }
    return arrays, facts


def restore_course(
    course: Course, arrays: Mapping[str, Array], facts: Mapping[str, Any], new_data: bool
) -> float:
    """Take up a saved state; returns the seconds that the run was trained for, 0 where a clock was set back then."""
    restore_learner(course.learner, arrays, facts["learner"], new_data)
    course.sampling.load_state_dict(facts["sampling"])
    course.losses, course.chores = list(facts["losses"]), list(facts["chores"])
    course.sizes = facts["sizes"]
    if facts["step"]:
        course.step = Step(**facts["step"], flow=course.learner.gauge.flow())
    if not new_data:
        course.validation, course.best, course.error = (facts[k] for k in ("validation", "best", "error"))
        # Runs of earlier versions count from here on.
        course.best_step, course.waited = facts.get("best_step", 0), facts.get("waited", 0)
    if "divergence" in facts:
        course.divergence.load_state_dict(facts["divergence"])
    else:  # a run of an earlier version: the first loss is that of its next step
        best = course.best_step
        course.divergence.saved(best or course.learner.done, BEST if best else LAST)
    return lasted(facts["seconds"])


def learner_state(learner: Learner) -> tuple[Arrays, dict[str, Any]]:
    """Weights, moments, carried state and earlier windows as arrays; counts, draws and places as plain values."""
    arrays: Arrays = {f"model.{name}": p.array for name, p in learner.model.state_dict().items()}
    optimizer = learner.optimizer.state_dict()
    for i, moments in optimizer["state"].items():
        arrays |= {f"optimiser.{i}.{name}": value for name, value in moments.items()}
    carried = _flat("carried", learner.state, arrays)
    windows = [_flat_window(f"window.{i}", one, i == 0, arrays) for i, one in enumerate(learner.windows)]
    return arrays, {
        "done": learner.done,
        "base_lrs": learner.schedule.base_lrs,
        "batches": learner.batches.state_dict(),
        "dropout": learner.dropout.state_dict(),
        "gauge": learner.gauge.state_dict(),
        "carried": carried,
        "windows": windows,
    }


def restore_learner(
    learner: Learner, arrays: Mapping[str, Array], facts: Mapping[str, Any], new_data: bool = False
) -> None:
    """Make a new learner of the same settings the one that was saved.

    With `new_data` its place in the text, and what it carries from there, stay as they are: at the start. Raises
    `CheckpointError` for weights or places that do not fit.
    """
    learner.model.load_state_dict(dict(_under("model.", arrays)))
    moments: dict[int, Arrays] = {}
    for name, value in _under("optimiser.", arrays):
        i, kind = name.split(".", 1)
        moments.setdefault(int(i), {})[kind] = value
    # Rates and other settings are those of the run's settings, which may have changed.
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    learner.done = int(facts["done"])
    learner.dropout.load_state_dict(facts["dropout"])
    learner.gauge.load_state_dict(facts["gauge"])
    if new_data:
        return
    learner.batches.load_state_dict(facts["batches"])
    for k, form in enumerate(facts["windows"]):
        learner.run_again(_window(f"window.{k}", form, arrays))
    learner.dropout.load_state_dict(facts["dropout"])
    if not facts["windows"]:
        learner.state = _nested(facts["carried"], arrays)


def _under(prefix: str, arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    return ((name.removeprefix(prefix), a) for name, a in arrays.items() if name.startswith(prefix))


def _flat_window(name: str, window: Window, oldest: bool, arrays: Arrays) -> dict[str, Any]:
    arrays |= {f"{name}.weights.{k}": a for k, a in enumerate(window.weights)}
    arrays |= {f"{name}.inputs": window.batch.inputs, f"{name}.targets": window.batch.targets}
    # Each later window starts from the state that the one before it leaves, on its tape.
    before = _flat(f"{name}.before", window.before if oldest else None, arrays)
    return {"fresh": window.batch.fresh, "draws": dict(window.draws), "before": before}


def _window(name: str, form: Mapping[str, Any], arrays: Mapping[str, Array]) -> Window:
    weights: list[Array] = []
    while f"{name}.weights.{len(weights)}" in arrays:
        weights.append(arrays[f"{name}.weights.{len(weights)}"])
    batch = Batch(arrays[f"{name}.inputs"], arrays[f"{name}.targets"], form["fresh"])
    return Window(weights, batch, form["draws"], _nested(form["before"], arrays))


def _flat(name: str, state: Any, arrays: Arrays) -> Any:
    """The form of a nest of tensors as JSON has it, whose leaves are the names of their arrays."""
    if isinstance(state, Tensor):
        arrays[name] = state.array
        return name
    return None if state is None else [_flat(f"{name}.{k}", one, arrays) for k, one in enumerate(state)]


def _nested(form: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(form, str):
        return wrap(np.array(arrays[form]))
    return None if form is None else tuple(_nested(part, arrays) for part in form)
