"""A lock that is free in a forked process, also where a thread of the parent held it at the fork."""

from __future__ import annotations

import os
import threading


class Lock:
    """A `with` block that one thread at a time is in. It must not fork inside, nor enter the same lock again."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._own = threading.Lock()

    def __enter__(self) -> None:
        self._own.acquire()

    def __exit__(self, *_: object) -> None:
        self._own.release()
