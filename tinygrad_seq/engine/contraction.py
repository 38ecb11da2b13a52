"""`einsum` composed from permute, reshape, sum and matmul, two operands at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import as_tensor, wrap
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import DTypeError, ShapeError


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's summation: letters name axes, those missing on the right of `->` are summed.

    >>> from tinygrad_seq import Tensor
    >>> a, b = Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]])
    >>> einsum("ij,jk->ik", a, b)
    Tensor([[11.]], f32(1, 1))
    """
    if not isinstance(equation, str):
        rule = "expected a string, such as 'ij,jk->ik', and then the operands."
        raise DTypeError("einsum: the equation is no string", {"equation": equation}, rule)
    tensors: list[Any] = [as_tensor(x) for x in operands]
    inputs, output = _parsed(equation, tensors)
    sizes: dict[str, int] = {}
    for letters, t in zip(inputs, tensors, strict=True):
        for letter, n in zip(letters, t.shape, strict=True):
            if sizes.setdefault(letter, n) != n and 1 not in (n, sizes[letter]):
                rule = f"expected one size for {letter!r}, got {sizes[letter]} and {n}."
                raise ShapeError(f"einsum {equation!r}: sizes differ", _named(tensors), rule)
            sizes[letter] = max(sizes[letter], n) if n else n
    pairs = [_diagonal(letters, t) for letters, t in zip(inputs, tensors, strict=True)]
    letters, total = pairs[0]
    for i, (right, t) in enumerate(pairs[1:], 1):
        later = output + "".join(p[0] for p in pairs[i + 1 :])
        letters, total = _product(letters, total, right, t, set(later))
    gone = tuple(i for i, letter in enumerate(letters) if letter not in output)
    if gone:
        total = total.sum(gone)
        letters = "".join(letter for letter in letters if letter in output)
    return total.permute([letters.index(letter) for letter in output]) if letters else total


def _named(tensors: list[Any]) -> dict[str, Any]:
    return {f"operand {i}": t for i, t in enumerate(tensors)}


def _parsed(equation: str, tensors: list[Any]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, the ellipsis spelt out in letters of its own."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(tensors):
        rule = f"expected {len(inputs)} operands, got {len(tensors)}."
        raise ShapeError(f"einsum {equation!r}: operands and terms differ in number", _named(tensors), rule)
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in text]
    widths = [t.ndim - len(term.replace("...", "")) for term, t in zip(inputs, tensors, strict=True)]
    wide = max((w for w, term in zip(widths, inputs, strict=True) if "..." in term), default=0)
    dots = "".join(spare[:wide])
    terms = []
    for term, width, t in zip(inputs, widths, tensors, strict=True):
        term = term.replace("...", dots[wide - width :] if width else "")
        if len(term) != t.ndim or not all(c.isalpha() for c in term):
            rule = f"expected {term!r} to name {t.ndim} axes."
            raise ShapeError(f"einsum {equation!r}: a term does not fit", _named(tensors), rule)
        terms.append(term)
    if not arrow:
        counted = "".join(terms)
        right = ("..." if "..." in text else "") + "".join(
            sorted(c for c in set(counted) if counted.count(c) == 1 and c not in dots)
        )
    right = right.replace("...", dots)
    if len(set(right)) != len(right) or not set(right) <= set("".join(terms)):
        rule = "expected each letter of the result once, and in some operand."
        raise ShapeError(f"einsum {equation!r}: the result's letters do not fit", _named(tensors), rule)
    return terms, right


def _diagonal(letters: str, t: Any) -> tuple[str, Any]:
    """An operand with a repeated letter, reduced to its diagonal over the two axes."""
    for letter in set(letters):
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            rest = [k for k in range(t.ndim) if k not in (i, j)]
            ids: Any = wrap(np.arange(t.shape[i]))
            t = t.permute(i, j, *rest)[ids, ids]
            letters = letter + "".join(letters[k] for k in rest)
    return letters, t


def _product(left: str, x: Any, right: str, y: Any, later: set[str]) -> tuple[str, Any]:
    """x y summed over the letters that are not needed later, as one batched matrix product."""
    x, left = _summed(x, left, set(right) | later)
    y, right = _summed(y, right, set(left) | later)
    both = [c for c in left if c in right]
    batch = [c for c in both if c in later]
    inner = [c for c in both if c not in later]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    a = x.permute([left.index(c) for c in batch + rows + inner])
    b = y.permute([right.index(c) for c in batch + inner + columns])
    n, r, k = len(batch), len(rows), len(inner)
    # An axis of size 1 beside a larger one is expanded, as in broadcasting.
    sizes = {c: max(x.shape[left.index(c)], y.shape[right.index(c)]) for c in both}
    a = a.expand(*(sizes[c] for c in batch), *a.shape[n : n + r], *(sizes[c] for c in inner))
    b = b.expand(*(sizes[c] for c in batch + inner), *b.shape[n + k :])
    heads, tail, last = a.shape[:n], a.shape[n : n + r], b.shape[n + k :]
    inner_size = math.prod(sizes[c] for c in inner)
    out = a.reshape(*heads, math.prod(tail), inner_size) @ b.reshape(*heads, inner_size, math.prod(last))
    return "".join(batch + rows + columns), out.reshape(*heads, *tail, *last)


def _summed(t: Any, letters: str, needed: set[str]) -> tuple[Any, str]:
    gone = tuple(i for i, c in enumerate(letters) if c not in needed)
    return (t.sum(gone), "".join(c for c in letters if c in needed)) if gone else (t, letters)


answer(globals(), "einsum")
