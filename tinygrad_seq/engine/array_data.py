"""Data of many kinds as one array of numbers, for the constructor of `Tensor`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_seq.engine.apply import FLOAT32, Recorded
from tinygrad_seq.engine.dtypes import computed, dtype_of, is_bfloat16, numbers
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.numpy_protocols import may_leave, plain
from tinygrad_seq.errors import DTypeError
from tinygrad_seq.runtime.arrays import Array


def array_of(data: Any, dtype: Any = None) -> Array:
    """A fresh array of `data`: Python floats become float32, arrays keep their dtype."""
    if getattr(data, "requires_grad", False) and not isinstance(data, Recorded):
        rule, hint = "its gradient cannot cross into this library.", "Use tgs.tensor(x.detach())."
        raise DTypeError("tensor: a PyTorch tensor that wants a gradient", None, rule, hint)
    if isinstance(data, (list, tuple)):
        rule, hint = "expected values alone.", "Write stack([x, y]), or x.detach() for each."
        may_leave("tensor", data, rule, hint)
    if not isinstance(data, Recorded) and hasattr(data, "is_contiguous"):  # PyTorch's
        data = (data.float() if is_bfloat16(data) else data).cpu().numpy()
    data = plain(data)
    dtype = None if dtype is None else dtype_of("tensor", dtype)
    keep = dtype is not None or isinstance(data, (np.ndarray, np.generic)) or hasattr(data, "__array__")
    try:
        if dtype is not None:  # NumPy would make 1.5 of "1.5", NaN of None, and 1 of 1 + 2j
            numbers("tensor", np.asarray(data), data)
        array: Array = STATE.run(np.array, data, dtype=dtype)
    except DTypeError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise DTypeError(
            "tensor: not numbers in equal rows", {"data": data}, f"NumPy says: {error}"
        ) from None
    if not keep and array.dtype.kind == "f":
        array = STATE.run(array.astype, FLOAT32)
    numbers("tensor", array, data)
    computed("tensor", array.dtype)
    return array
