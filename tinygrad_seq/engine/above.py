"""Functions of higher folders that methods of `Tensor` call: a registry, because the engine imports only downwards.

`x.softmax()` is `functional.softmax(x)`, which is composed of tensors. The package's own `__init__`, which
runs before any of its modules, registers here how `functional` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

functional: Callable[[], Any]
"""Gives the module `functional`, imported at the first call."""
