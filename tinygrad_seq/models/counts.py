"""Models that only count: all of the past (`Naive`) and the last k symbols (`Markov`)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_seq.arguments import choice, count, is_number
from tinygrad_seq.engine.foreign_keywords import answer
from tinygrad_seq.errors import ArgumentError, DataError
from tinygrad_seq.models.protocol import Floats, Ids, SymbolModel, read_sequences

__all__ = ["Markov", "Naive"]

SMOOTHINGS = ("additive", "witten-bell", "kneser-ney")


class Naive(SymbolModel):
    """All of the past, symbol by symbol: counts of what followed exactly the same past.

        P(x_s = v | x_1 .. x_{s-1}) = (n(x_1 .. x_{s-1}, v) + alpha) / (n(x_1 .. x_{s-1}) + alpha V)

    where n counts the training sequences that begin so. It memorises its training sequences and does not
    generalise: V^(s-1) pasts are possible at step s, and after an unseen one all symbols are equally likely.
    That is why the other models forget part of the past.

    >>> model = Naive(2).fit([[0, 1, 1], [0, 1, 0]])
    >>> model.conditional([0])
    array([0., 1.])
    >>> model.conditional([1])
    array([0.5, 0.5])
    """

    def __init__(self, vocabulary_size: int, alpha: float = 0.0):
        self.vocabulary_size = count("Naive", "vocabulary_size", vocabulary_size, 1)
        self.alpha = pseudo_count("Naive", alpha)
        self._next: dict[int, int] = {}  # past * V + symbol -> the past with that symbol
        self._came: list[int] = []

    def fit(self, sequences: Any) -> Naive:
        """Count one row of ids, or each of a list of rows, from its beginning on; earlier counts are dropped."""
        rows = read_sequences("Naive.fit", sequences, self.vocabulary_size)
        self._next, self._came = {}, [len(rows)]
        for row in rows:
            past = 0
            for symbol in row.tolist():
                past = self._next.setdefault(past * self.vocabulary_size + symbol, len(self._came))
                if past == len(self._came):
                    self._came.append(0)
                self._came[past] += 1
        return self

    @property
    def contexts(self) -> int:
        """How many different pasts are stored: the cost, which grows with every symbol read."""
        return len(self._came)

    def init_state(self) -> int:
        """The number of the empty past; the state is the number of a past, or -1 for an unseen one."""
        _require_fitted("Naive", bool(self._came))
        return 0

    def step(self, symbol: int | None, state: int) -> tuple[Floats, int]:
        """log P(next = v), f64(V,), and the longer past."""
        V = self.vocabulary_size
        if symbol is not None:
            symbol = self._read_symbol(symbol)
            state = -1 if state < 0 else self._next.get(state * V + symbol, -1)
        came = np.zeros(V)
        if state >= 0:
            for v in range(V):
                after = self._next.get(state * V + v)
                came[v] = 0 if after is None else self._came[after]
        total = came.sum() + self.alpha * V
        with np.errstate(divide="ignore"):
            return (np.log((came + self.alpha) / total) if total else np.full(V, -math.log(V))), state


class _Table(NamedTuple):
    """The probabilities after a context: (kept + spread * lower) / total for each symbol.

    `kept` belongs to context and symbol, `spread` and `total` to the context; `lower` is the probability of
    the same symbol without the oldest symbol of the context.
    """

    kept: Floats
    spread: Floats
    total: Floats

    def mix(self, context: Any, child: Ids, lower: Floats) -> Floats:
        """The probabilities of the symbols at `child` in the tree, -1 where they were never seen."""
        # -1 is the last entry of each array, which stands for unseen symbols.
        spread, total = self.spread[context], self.total[context]
        return np.where(
            total > 0, (self.kept[child] + spread * lower) / np.where(total > 0, total, 1.0), lower
        )


class _Tree:
    """Every run of up to `depth` symbols, oldest first, as the nodes of a tree in sorted arrays.

    Level m holds the runs of m symbols; `keys[m]` is parent * V + symbol, `came[m]` how often the run came,
    `without[m]` the node one level up that is the run without its oldest symbol.
    """

    def __init__(self, rows: list[Ids], vocabulary_size: int, depth: int):
        self.size = vocabulary_size
        x = np.concatenate(rows)
        end = np.repeat(np.cumsum([len(row) for row in rows]), [len(row) for row in rows])
        root = np.zeros(1, np.int64)
        self.keys, self.came, self.without = [root], [root + len(x)], [root]
        node, at = np.zeros(len(x), np.int64), np.arange(len(x))
        for m in range(1, depth + 1):
            at = at[at + m <= end[at]]
            codes = node[at] * vocabulary_size + x[at + m - 1]
            keys, found, came = np.unique(codes, return_inverse=True, return_counts=True)
            without = np.zeros(len(keys), np.int64)
            if m > 1:
                without[found] = node[at + 1]
            node = np.full(len(x), -1)
            node[at] = found
            self.keys.append(keys)
            self.came.append(came)
            self.without.append(without)

    def find(self, m: int, parents: Any, symbols: Any) -> Ids:
        """The node at level m below each parent, -1 where there is none."""
        keys = self.keys[m]
        if not len(keys):
            return np.full(np.broadcast(parents, symbols).shape, -1)
        codes = np.asarray(parents * self.size + symbols)
        places = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
        return np.where((np.asarray(parents) >= 0) & (keys[places] == codes), places, -1)


class Markov(SymbolModel):
    """The next symbol depends on the last k symbols only; k = 0 is the unigram, k = 1 the Markov model of the
    textbooks.

        additive     (n(c, v) + alpha) / (n(c) + alpha V)
        witten-bell  (n(c, v) + d(c) P(v | c')) / (n(c) + d(c))
        kneser-ney   (max(n(c, v) - D, 0) + D d(c) P(v | c')) / n(c)

    c is the context of k symbols, c' the same without its oldest, n how often c or c and v came, d(c) how many
    different symbols came after c. Below the first, Kneser-Ney counts different predecessors in place of occurrences;
    D = n1 / (n1 + 2 n2) from how many came once and twice. The shortest context mixes with 1 / V. Where fewer than k
    symbols have been read, the model of that order predicts; an unseen context has the probabilities of the next
    shorter one. Witten and Bell (1991); Kneser and Ney (1995), interpolated after Chen and Goodman (1999).

    `alpha` is for `additive` only, 1 unless given. Raises `ArgumentError` for a setting that is none.

    >>> model = Markov(2, order=1, alpha=0).fit([0, 0, 1, 0, 0, 1])
    >>> model.conditional([1, 0])
    array([0.5, 0.5])
    >>> model.conditional([0, 1])
    array([1., 0.])
    """

    def __init__(
        self,
        vocabulary_size: int,
        order: int = 1,
        *,
        smoothing: str = "additive",
        alpha: float | None = None,
    ):
        self.vocabulary_size = count("Markov", "vocabulary_size", vocabulary_size, 1)
        self.order = count("Markov", "order", order, 0)
        choice("Markov: no such smoothing", "smoothing", smoothing, tuple(SMOOTHINGS))
        if alpha is not None and smoothing != "additive":
            rule = f"expected none, because smoothing is {smoothing!r}."
            raise ArgumentError("Markov: alpha is of no use here", {"alpha": alpha}, rule)
        self.smoothing = smoothing
        self.alpha = pseudo_count("Markov", 1.0 if alpha is None else alpha)
        self._tree: _Tree | None = None
        self._outer: list[_Table] = []  # where the context is all that has been read, or of k symbols
        self._inner: list[_Table] = []  # where a longer context mixes with it

    def fit(self, sequences: Any) -> Markov:
        """Count one row of ids, or each of a list of rows; earlier counts are dropped.

        Raises `RangeError` for a symbol outside the vocabulary, `DataError` for an empty sequence.
        """
        rows = read_sequences("Markov.fit", sequences, self.vocabulary_size)
        tree = self._tree = _Tree(rows, self.vocabulary_size, self.order + 1)
        self._outer = [self._table(j, tree.came[j + 1]) for j in range(self.order + 1)]
        self._inner = self._outer
        if self.smoothing == "kneser-ney":
            before = [
                np.bincount(tree.without[j + 2], minlength=len(tree.keys[j + 1])) for j in range(self.order)
            ]
            self._inner = [self._table(j, n) for j, n in enumerate(before)] + self._outer[-1:]
        return self

    def _table(self, j: int, came: npt.NDArray[Any]) -> _Table:
        """The table of contexts of j symbols, from how often each symbol came after each."""
        assert self._tree is not None
        parents = self._tree.keys[j + 1] // self.vocabulary_size
        contexts = len(self._tree.keys[j]) + 1
        total = np.bincount(parents, came, contexts).astype(np.float64)
        different = np.bincount(parents, came > 0, contexts).astype(np.float64)
        came = np.append(came, 0).astype(np.float64)
        if self.smoothing == "additive":
            spread = np.full(contexts, self.alpha * self.vocabulary_size)
            return _Table(came, spread, total + spread)
        if self.smoothing == "witten-bell":
            return _Table(came, different, total + different)
        once, twice = (float((came == n).sum()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        return _Table(np.maximum(came - discount, 0.0), discount * different, total)

    @property
    def contexts(self) -> int:
        """How many different contexts of k symbols were seen."""
        _require_fitted("Markov", self._tree is not None)
        assert self._tree is not None
        return len(np.unique(self._tree.keys[self.order + 1] // self.vocabulary_size))

    @property
    def degrees(self) -> int:
        """How many numbers are free in a full table: V^k (V - 1)."""
        return int(self.vocabulary_size**self.order * (self.vocabulary_size - 1))

    def init_state(self) -> tuple[int, ...]:
        """No symbols; the state is the last symbols, k at the most."""
        _require_fitted("Markov", self._tree is not None)
        return ()

    def step(self, symbol: int | None, state: tuple[int, ...]) -> tuple[Floats, tuple[int, ...]]:
        """log P(next = v), f64(V,), and the last symbols."""
        _require_fitted("Markov", self._tree is not None)
        if symbol is not None:
            state = (*state, self._read_symbol(symbol))
            state = state[max(0, len(state) - self.order) :]
        symbols = np.arange(self.vocabulary_size)
        probabilities = even = np.full(self.vocabulary_size, 1.0 / self.vocabulary_size)
        for j in range(len(state) + 1):
            context = self._node(state[len(state) - j :])
            table = (self._outer if j == len(state) else self._inner)[j]
            assert self._tree is not None
            child = self._tree.find(j + 1, np.full(len(symbols), context), symbols)
            base = even if self.smoothing == "additive" else probabilities
            probabilities = table.mix(np.array(context), child, base)
        with np.errstate(divide="ignore"):
            return np.log(probabilities), state

    def _node(self, context: tuple[int, ...]) -> int:
        assert self._tree is not None
        node = 0
        for m, symbol in enumerate(context, 1):
            node = int(self._tree.find(m, node, symbol))
        return node

    def score(self, sequence: npt.ArrayLike) -> Floats:
        """log P(x_s | the k symbols before it) for each s, f64(T,), in nats: `step`, for all s at once."""
        _require_fitted("Markov", self._tree is not None)
        assert self._tree is not None
        ids = self._read("score", sequence)
        T = len(ids)
        probabilities = np.full(T, 1.0 / self.vocabulary_size)
        context = np.zeros(T + 1, np.int64)  # the node of the j symbols from each place on
        for j in range(min(self.order, T - 1) + 1):
            context = context[: T - j]
            child = self._tree.find(j + 1, context, ids[j:])
            lower = 1.0 / self.vocabulary_size if self.smoothing == "additive" else probabilities[j:]
            mixed = self._inner[j].mix(context, child, np.broadcast_to(lower, T - j))
            first = self._outer[j].mix(context[:1], child[:1], np.broadcast_to(lower, T - j)[:1])
            probabilities[j:] = np.concatenate([first, mixed[1:]])
            context = child
        with np.errstate(divide="ignore"):
            return np.log(probabilities)  # type: ignore[no-any-return]


def pseudo_count(call: str, alpha: Any) -> float:
    """`alpha`, what is added to each count; ArgumentError for what is no finite number from 0 upwards."""
    if not is_number(alpha) or not 0 <= alpha < math.inf:
        rule = f"expected a finite number from 0 upwards, got {alpha!r}."
        raise ArgumentError(f"{call}: alpha out of range", None, rule)
    return float(alpha)


def _require_fitted(call: str, fitted: bool) -> None:
    if not fitted:
        rule, hint = "expected sequences to count.", f"Call fit() first: {call}(...).fit(ids)."
        raise DataError(f"{call}: nothing has been counted yet", None, rule, hint)


answer(globals(), "Markov", "Naive")
