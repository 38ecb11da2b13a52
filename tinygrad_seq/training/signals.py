"""Ctrl+C and the signals that ask a program to end: they stop a run between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Stopped", "number_of", "stoppable", "undisturbed", "uninterrupted"]

# Asked to end; its terminal is gone; its share of processor time is used up; Ctrl+Break, on Windows.
_NAMES = ("SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; `number` is which. A subclass of KeyboardInterrupt, so that code for
    Ctrl+C handles it.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def number_of(stop: BaseException) -> int:
    """The number of the signal behind an exception; Ctrl+C is SIGINT.

    >>> number_of(KeyboardInterrupt()) == signal.SIGINT, number_of(Stopped(15))
    (True, 15)
    """
    return stop.number if isinstance(stop, Stopped) else int(signal.SIGINT)


class _Watch:
    """The state of the signal handlers. They belong to the process, so there is one instance."""

    def __init__(self) -> None:
        self.runs = 0
        """How many runs are under way that want to be saved."""
        self.before: dict[int, Any] = {}
        self.held = False
        """Whether what is done now must not be cut."""
        self.asked: int | None = None
        """The signal that came first. Those after it change nothing: services send one again while they wait."""

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if not self.runs:  # its run was ended by another thread, which may not put handlers back
            self.put_back()
            signal.raise_signal(number)
        elif self.asked is None:
            self.asked = number
            if not self.held:
                raise Stopped(number)

    def put_back(self) -> None:
        """The handlers as they were found."""
        for number, handler in self.before.items():
            if signal.getsignal(number) == self.note:
                signal.signal(number, handler)
        self.before, self.asked = {}, None


_watch = _Watch()


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM, SIGHUP and SIGXCPU (on Windows Ctrl+Break) raise `Stopped` instead of ending the process.

    Only in the main thread, because Python handles signals there, and only where the default handling is in place:
    an ignored signal (`nohup`) or a handler of the user's stays. The old handlers are restored at the end. A signal
    that is lost, because it came where Python swallows exceptions, is raised at the next step.
    """
    if not _in_main_thread():
        yield
        return
    if not _watch.runs:
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                _watch.before[number] = signal.signal(number, _watch.note)
    _watch.runs += 1
    try:
        yield
    finally:
        _watch.runs -= 1
        if not _watch.runs and _in_main_thread():
            _watch.put_back()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, a signal that asks for the end is ignored, because the run is being ended. Ctrl+C still interrupts."""
    if not _in_main_thread() or _watch.held:
        yield
        return
    _watch.held = True
    try:
        yield
    finally:
        _watch.held = False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl+C, and inside of `stoppable` the other signals, wait for the end of the block and are raised there.

    A second Ctrl+C stops at once. It waits only where Python's own handler is in place; a handler of the user's
    stays.
    """
    if not _in_main_thread():
        yield
        return
    if _watch.runs and _watch.asked is not None:
        raise Stopped(_watch.asked)
    with undisturbed(), _ctrl_c_waits():
        yield
    if _watch.runs and _watch.asked is not None:
        raise Stopped(_watch.asked)


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    own = signal.default_int_handler
    if signal.getsignal(signal.SIGINT) is not own:
        yield
        return
    pressed = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, own)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, own)
    if pressed:
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
