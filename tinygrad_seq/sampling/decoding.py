"""From logits to the next symbol: penalty, temperature, truncations, draw. In float64, on arrays alone."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import is_number, is_whole
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, DTypeError, NonFiniteError
from tinygrad_seq.runtime.arrays import mix

__all__ = ["DecodingConfig", "drawn", "log_prob", "probabilities", "uniform"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DecodingConfig:
    """How the next symbol is chosen from the logits x (V,).

    The steps are taken in this order:

        1  repetition_penalty r   x_v / r where x_v > 0, x_v r elsewhere, for each v that has occurred
        2  temperature t          p = softmax(x / t); with t = 0 the likeliest symbol only
        3  top_k k                the k likeliest are kept
        4  top_p                  of those, the fewest likeliest whose probabilities, made to add up to 1, reach top_p
        5  min_p                  of those, every v with p_v >= min_p max(p)
        6  draw                   from what is kept, its probabilities made to add up to 1

    Sources: 1 Keskar et al. (2019), where a negative logit is multiplied for it to become less likely too; 3 Fan
    et al. (2018); 4 Holtzman et al. (2020); 5 Nguyen et al. (2024). What has occurred are the symbols of the prime
    and those written since. Of equally likely symbols the one with the lower id counts as likelier, so `top_k`
    keeps k exactly; `min_p` keeps all that reach it. The likeliest symbol is always kept. A symbol whose logit is
    -inf, or that the tokenizer does not allow, has no chance at any setting.

    A temperature of 0, 1, or more: greedy, as learnt, wilder. None and 0 for `top_k`, 1 for `top_p`, 0 for
    `min_p` and 1 for `repetition_penalty` change nothing.

    Raises ArgumentError for a setting out of its range.

    >>> probabilities(np.log([0.5, 0.3, 0.15, 0.05]), DecodingConfig(temperature=1.0, top_p=0.7)).round(3)
    array([0.625, 0.375, 0.   , 0.   ])
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        rule = "expected a finite number from 0 upwards; 0 takes the likeliest character."
        t, k = self.temperature, self.top_k
        _require(
            is_number(t) and 0 <= t <= sys.float_info.max, "temperature out of range", "temperature", t, rule
        )
        rule = "expected a whole number from 1 upwards, or None or 0 to keep all."
        _require(k is None or (is_whole(k) and k >= 0), "top_k is no count", "top_k", k, rule)
        rule = "expected a number above 0 and up to 1; 1 keeps all."
        _require(
            is_number(self.top_p) and 0 < self.top_p <= 1, "top_p out of range", "top_p", self.top_p, rule
        )
        rule = "expected a number from 0 to 1; 0 keeps all."
        _require(
            is_number(self.min_p) and 0 <= self.min_p <= 1, "min_p out of range", "min_p", self.min_p, rule
        )
        rule, r = "expected a finite number above 0; 1 penalises nothing.", self.repetition_penalty
        fits = is_number(r) and 0 < r <= sys.float_info.max
        _require(fits, "repetition_penalty out of range", "repetition_penalty", r, rule)

    @property
    def truncates(self) -> bool:
        """Whether some symbols may be excluded."""
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0


def weights(
    logits: npt.NDArray[Any], how: DecodingConfig, seen: Mask | None = None, allowed: Mask | None = None
) -> Floats:
    """The probabilities of all symbols after step 2, up to a factor: the likeliest has 1; f64(V,).

    `seen` and `allowed`, bool(V,), say which symbols have occurred and which the tokenizer allows.

    Raises NonFiniteError where the largest logit is no finite number.
    """
    x = logits.astype(np.float64)
    if allowed is not None:
        x[~allowed] = -np.inf
    top = float(x.max())
    if not math.isfinite(top):
        rule = "expected finite numbers."
        hint = "Were the weights saved by a run that diverged? Train again with a lower learning rate."
        what = "sample: the model's logits are not finite"
        raise NonFiniteError(what, {"logits": logits}, rule, hint)
    if seen is not None and how.repetition_penalty != 1.0:
        with np.errstate(over="ignore"):
            r = how.repetition_penalty
            x = np.where(seen, np.where(x > 0, x / r, x * r), x)
        top = float(x.max())
    if how.temperature == 0.0:
        best = int(x.argmax())
        x[...] = 0.0
        x[best] = 1.0
        return x
    x -= top
    if how.temperature != 1.0:
        # Where the quotient is too large for a float64, its exponential is 0 all the same.
        with np.errstate(over="ignore"):
            x /= how.temperature
    return np.exp(x, out=x)


def truncated(p: Floats, how: DecodingConfig) -> Floats:
    """The weights with those set to 0 that steps 3 to 5 exclude; f64(V,)."""
    kept = p
    if how.top_k or how.top_p < 1:
        # A stable sort: of equal weights the lower id comes first.
        order = np.argsort(-p, kind="stable")
        if how.top_k:
            order = order[: how.top_k]
        if how.top_p < 1:
            sums = p[order].cumsum()
            order = order[: int(sums.searchsorted(how.top_p * sums[-1])) + 1]
        kept = np.zeros_like(p)
        kept[order] = p[order]
    if how.min_p > 0:
        kept = np.where(kept >= how.min_p * kept.max(), kept, 0.0)
    return kept


def probabilities(
    logits: npt.ArrayLike, how: DecodingConfig, seen: Mask | None = None, allowed: Mask | None = None
) -> Floats:
    """The probability with which each symbol is drawn, f64(V,), adding up to 1.

    >>> probabilities([2.0, 1.0, 1.0, 0.0], DecodingConfig(temperature=1.0, top_k=2)).round(3)
    array([0.731, 0.269, 0.   , 0.   ])
    """
    found = np.asarray(logits)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "fiub":
        raise DTypeError(
            "probabilities: logits are no row of numbers", {"logits": logits}, "expected (V,) floats."
        )
    for name, mask in (("seen", seen), ("allowed", allowed)):
        if mask is not None and (np.shape(mask) != found.shape or np.asarray(mask).dtype.kind != "b"):
            rule = f"expected booleans {found.shape}."
            raise DTypeError(f"probabilities: {name} is no row of booleans", {name: mask}, rule)
    p = truncated(weights(found, how, seen, allowed), how)
    p /= p.sum()
    return p


def drawn(p: Floats, u: float) -> int:
    """The symbol that u, uniform on [0, 1), draws from weights that need not add up to 1."""
    sums = p.cumsum()
    total = float(sums[-1])
    i = int(sums.searchsorted(u * total, "right"))
    # Rounding may put u at the very end, where the last symbols may have a weight of 0.
    return i if i < len(p) and sums[i] < total else int(sums.searchsorted(total))


def log_prob(logits: npt.NDArray[Any], i: int) -> float:
    """log P(i) under the model itself, in nats: no temperature, no truncation."""
    x = logits.astype(np.float64)
    top = x.max()
    return float(x[i] - top - np.log(np.exp(x - top).sum()))


def uniform(rng: Generator) -> float:
    """`rng.rand(dtype=float64)` as a number, without a tensor around it.

    >>> a, b = Generator(7), Generator(7)
    >>> uniform(a) == b.rand(dtype=np.float64).item()
    True
    """
    return (mix(int(rng.next_key().array)) >> 11) * 2.0**-53


def _require(holds: bool, what: str, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ArgumentError(f"sample: {what}", {name: value}, rule)


answer(globals(), "DecodingConfig", "probabilities")
