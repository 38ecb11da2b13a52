"""The cache of kernels of one fused function, by the arguments of a call; or the reason why there is none."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_seq.errors import ArgumentError, TraceError, is_slip
from tinygrad_seq.fuser.launch import BoundKernel, CompiledKernel
from tinygrad_seq.fuser.plan import Plan
from tinygrad_seq.fuser.specialization import Specialization
from tinygrad_seq.fuser.trace import Layout, layout_of, name_of
from tinygrad_seq.fuser.trial import alike, drawn, tried
from tinygrad_seq.runtime.arrays import Array

# The dtypes of generated kernels; others run as compositions.
_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint64", "bool"})
_FEW = 29

# A program may have new shapes as long as it runs. The oldest entry is dropped first; one in use is soon made
# again.
MOST_SPECIALIZATIONS = 1024  # of all functions together
MOST_PLANS = 256  # of one function, because some are traced for each width
_NOT_YET: Any = object()
_remembered: deque[tuple[dict[Any, Any], Any]] = deque()

Signs = tuple[Any, ...]
"""By what the kernels for a call are found: shape and dtype of each array, then the settings."""


def signs_of(arrays: Sequence[Array], settings: dict[str, Any]) -> Signs:
    """The key of a call, as `Fused` computes it."""
    signs: list[Any] = []
    for a in arrays:
        signs += a.shape, a.dtype
    return (*signs, *settings_signs(settings))


def settings_signs(settings: dict[str, Any]) -> Signs:
    """Settings with their types: 1, 1.0 and True are equal, but a composition may distinguish them."""
    return tuple([(k, type(v), repr(v)) for k, v in settings.items()])


class KernelCache:
    """All kernels of one fused function: a plan serves all shapes of some ranks and dtypes, a specialization one."""

    def __init__(self, fn: Callable[..., Any]):
        self.fn = fn
        self.name = name_of(fn)
        self.plans: dict[Any, Plan | None] = {}
        self.specializations: dict[Signs, Specialization | None] = {}
        self.last: dict[str, CompiledKernel] = {}
        self.reason = ""

    def specialize(
        self, signs: Signs, arrays: Sequence[Array], settings: dict[str, Any], records: bool
    ) -> Specialization | None:
        """The kernels for arrays like these, from the cache or new; None where the composition must run.

        Where a gradient will be computed (`records`), the kernel that saves values for it is tried.
        """
        made = self.specializations[signs] = self._specialized(arrays, settings, records)
        _remembered.append((self.specializations, signs))
        while len(_remembered) > MOST_SPECIALIZATIONS:
            theirs, oldest = _remembered.popleft()
            theirs.pop(oldest, None)
        return made

    def bound(self, arrays: Sequence[Array], settings: dict[str, Any]) -> BoundKernel | None:
        """The kernel for the value alone of arrays like these; None where the composition must run."""
        signs = signs_of(arrays, settings)
        found = self.specializations.get(signs, _NOT_YET)  # in one look: another thread may forget it after
        if found is _NOT_YET:
            found = self.specialize(signs, arrays, settings, False)
        return None if found is None else found.plain

    def _specialized(
        self, arrays: Sequence[Array], settings: dict[str, Any], records: bool
    ) -> Specialization | None:
        """The kernels for these shapes, or None where the composition must run."""
        if all(a.ndim == 0 for a in arrays) or any(str(a.dtype) not in _DTYPES for a in arrays):
            return None
        try:
            layout = layout_of([a.shape for a in arrays])
        except ValueError:
            tried(self.fn, arrays, settings)  # the error names the op that no kernel can hold
            self.reason = "the leading axes of its inputs do not broadcast"
            return None
        widths = tuple([a.shape[-1] if a.ndim else -1 for a in arrays])
        ranks = tuple([a.ndim for a in arrays])
        dtypes = tuple([a.dtype for a in arrays])
        fixed = settings_signs(settings)
        wide = {n for n in widths if n > 1}
        # By the width's magnitude too, so that a function which asks for it is tried again now and then.
        widest = max(wide, default=1).bit_length()
        wides = tuple([n > 1 for n in widths])
        pattern = (layout.kinds, wides, widest, ranks, len(layout.lead), dtypes, fixed)
        # Most functions serve any number of columns, and are traced with few; the others with their own.
        few = tuple([min(n, _FEW) for n in widths])
        ways = [(pattern, few)] if len(wide) <= 1 else []
        for key, sizes in (*ways, ((*pattern, widths), widths)):
            plan = self.plans.get(key, _NOT_YET)
            if plan is _NOT_YET:
                if len(self.plans) >= MOST_PLANS:
                    self.plans.pop(next(iter(list(self.plans))), None)
                plan = self.plans[key] = self._planned(
                    arrays, layout, sizes, settings, key is pattern and bool(wide), records
                )
            if plan:
                return Specialization(self, plan, layout, arrays, max(widths))
        return None

    def _planned(
        self,
        arrays: Sequence[Array],
        layout: Layout,
        widths: tuple[int, ...],
        settings: dict[str, Any],
        general: bool,
        records: bool,
    ) -> Plan | None:
        """The plan for such inputs (of any width, if `general`), or None where the composition has another result.

        A composition is traced over rows and columns; one that looks at the number of its axes, or counts them
        from the front, means something else there. So each plan is tried on random numbers before it is used.
        """
        specs = [(a.shape, a.dtype, None if a.dtype.kind == "f" else a.copy()) for a in arrays]
        trial = drawn(specs)
        theirs = tried(self.fn, trial, settings)
        fn = functools.partial(self.fn, **settings) if settings else self.fn
        try:
            sizes = {layout.rows, *(n for a in arrays for n in a.shape)}
            width = max(a.shape[-1] for a in arrays if a.ndim)
            plan = Plan(fn, layout.kinds, widths, [a.dtype for a in arrays], sorted(sizes), width)
            plan.settings = settings
            if general and not plan.traced.width:
                return None
            if plan.refused:
                self.reason = plan.refused
                return None
            with np.errstate(all="ignore"):
                small = Specialization(self, plan, layout, trial, width)
                # Only the kernel that is needed now: each takes a moment to build.
                mine = (small.keeping if records else small.plain)(trial)[: len(theirs)]
        except TraceError:
            raise
        except Exception as error:  # a user's function may raise anything here
            if is_slip(error):
                raise
            self.reason = f"over rows and columns it raises {type(error).__name__}"
            return None
        if len(mine) == len(theirs) and all(alike(m, t) for m, t in zip(mine, theirs, strict=True)):
            plan.tried_on = layout, specs
            return plan
        self.reason = "over rows and columns it gives another result, another shape or another dtype"
        return None

    def source(self, which: str) -> str:
        """The text of the kernel that ran last."""
        if which not in ("forward", "backward"):
            rule = "expected 'forward' or 'backward'."
            raise ArgumentError("source: no such kernel", {"which": which}, rule)
        last = self.last.get(which)
        if last is None:
            rule = f"expected a call of {self.name} before{' and a gradient' * (which == 'backward')}."
            hint = f"Its composition runs instead: {self.reason}." if self.reason else ""
            raise ArgumentError(f"source: no {which} kernel has run yet", None, rule, hint)
        return last.kernel.source
