"""The value of `t.data`: a view of the tensor's array whose writes are noticed by the tapes that have saved it."""

from __future__ import annotations

from typing import Any, SupportsIndex

import numpy as np

from tinygrad_seq.engine.apply import Recorded, wrap
from tinygrad_seq.engine.node import mark_changed
from tinygrad_seq.engine.tree import tree_map
from tinygrad_seq.errors import ArgumentError
from tinygrad_seq.runtime.arrays import Array


class Watched(np.ndarray[Any, np.dtype[Any]]):
    """A view of a tensor's memory. `d[i] = v`, `d -= v`, `np.add(..., out=d)` and `d.fill(v)` write to it.

    NumPy itself sees a read-only array, so that every write is noted here. Results computed from it are plain arrays.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        array = opened(self)
        array[plain(key)] = plain(value)
        mark_changed(array)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        written = [*inputs[:1]] if method == "at" else [o for o in settings.get("out", ()) if o is not None]
        arrays = {id(x): opened(x) for x in written if isinstance(x, Watched)}
        given = [arrays.get(id(x), plain(x)) for x in inputs]
        if "out" in settings:
            settings["out"] = tuple(arrays.get(id(o), o) for o in settings["out"])
        found = getattr(ufunc, method)(
            *given, **{k: v if k == "out" else plain(v) for k, v in settings.items()}
        )
        for array in arrays.values():
            mark_changed(array)
        return written[0] if len(written) == 1 and "out" in settings else found

    def __array_function__(self, func: Any, types: Any, args: Any, settings: Any) -> Any:
        places = [args[0]] if func in WRITERS else [settings.get("out")]
        arrays = {id(x): opened(x) for x in places if isinstance(x, Watched)}
        if func in WRITERS:
            args = (arrays.get(id(args[0]), args[0]), *args[1:])
        out = settings.get("out")
        settings = {k: plain(v) for k, v in settings.items()} | (
            {} if out is None else {"out": arrays.get(id(out), out)}
        )
        found = func(*plain(args), **settings)
        for array in arrays.values():
            mark_changed(array)
        return found

    def __getattr__(self, name: str) -> Any:
        """PyTorch's methods that write, `p.data.zero_()`, are the tensor's."""
        if name.endswith("_") and not name.endswith("__") and hasattr(Recorded.tensor_type, name):
            return getattr(wrap(opened(self)), name)
        raise AttributeError(f"the data of a tensor is a NumPy array, which has no {name!r}")

    def fill(self, value: Any) -> None:
        """Every element becomes `value`."""
        self[...] = value

    def sort(self, axis: SupportsIndex = -1, **settings: Any) -> None:  # type: ignore[override]
        """The elements in order along `axis`, in place."""
        self[...] = np.sort(plain(self), axis, **settings)

    def copy(self, order: Any = "C") -> Array:  # type: ignore[override]
        """A plain array of its own."""
        return np.array(plain(self), order=order)

    def __deepcopy__(self, memo: Any) -> Array:  # type: ignore[override]
        return self.copy()

    def __repr__(self) -> str:
        return repr(plain(self))

    def __reduce__(self) -> Any:
        return self.copy().__reduce__()


WRITERS = {np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis}


def plain(value: Any) -> Any:
    """The same value with plain arrays for watched ones."""
    return tree_map(lambda part: part.view(np.ndarray), value, Watched, ignore_others=True)


def opened(watched: Watched) -> Array:
    """The memory itself, to be written to."""
    array = watched.view(np.ndarray)
    try:
        array.flags.writeable = True
    except ValueError:
        rule = "its memory is read-only, as that of a file is."
        raise ArgumentError("data: cannot be written to", {"x": array}, rule, "Use x.assign().") from None
    return array


def watched(array: Array) -> Watched:
    """A watched view of a tensor's array."""
    view = array.view(Watched)
    view.flags.writeable = False
    return view


def is_view_of(value: object, array: Array) -> bool:
    """True where a value is the array itself, seen through `watched` or not."""
    if value is array:
        return True
    if not isinstance(value, Watched) or (value.shape, value.strides) != (array.shape, array.strides):
        return False
    return bool(value.__array_interface__["data"][0] == array.__array_interface__["data"][0])
