"""What methods of `Tensor` need of folders that stand above the engine: who gives it is entered from there.

`x.softmax()` is `functional.softmax(x)`, which is made of tensors. The engine imports nothing from above; the
package's own `__init__`, which runs before any of its modules, says here how `functional` is come by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

functional: Callable[[], Any]
"""Gives the module `functional`, imported at the first call."""
