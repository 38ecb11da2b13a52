"""Headless Chromium, told what to do over its own pipe (`--remote-debugging-pipe`): no driver is installed for it."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 60
# The pipe must be the descriptors 3 and 4; what is copied first may be one of them.
START = """
import os, sys
there, back = int(sys.argv[1]), int(sys.argv[2])
there, back = os.dup(there), os.dup(back)
os.dup2(there, 60), os.dup2(back, 61), os.dup2(60, 3), os.dup2(61, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
QUIET = (
    "--headless=new --remote-debugging-pipe --no-first-run --no-default-browser-check --disable-gpu "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions "
    "--disable-dev-shm-usage --hide-scrollbars --force-color-profile=srgb"
)


def found() -> str | None:
    """The program, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page. What it asks for and what it complains of is kept in `events`."""

    def __init__(self, program: str):
        self.events: list[dict[str, Any]] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.buffer, self.calls, self.session = b"", 0, ""
        self.folder = tempfile.mkdtemp(prefix="tinygrad_seq-chromium-")
        read, self.out = os.pipe()
        self.into, write = os.pipe()
        flags = [*QUIET.split(), f"--user-data-dir={self.folder}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            flags.append("--no-sandbox")
        command = [sys.executable, "-c", START, str(read), str(write), program, *flags, "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(read, write), **quiet)  # type: ignore[call-overload]
        os.close(read)
        os.close(write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **settings: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": settings}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        mine, until = self.calls, time.monotonic() + SECONDS
        while mine not in self.answers:
            self._read(until, method)
        answer = self.answers.pop(mine)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _read(self, until: float, waits: str) -> None:
        ready, _, _ = select.select([self.into], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"Chromium gave no answer to {waits} within {SECONDS} s"
        piece = os.read(self.into, 1 << 20)
        assert piece, f"Chromium ended while it was asked for {waits}"
        *whole, self.buffer = (self.buffer + piece).split(b"\0")
        for message in map(json.loads, whole):
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.events.append(message)

    def js(self, code: str) -> Any:
        """The value of an expression in the page."""
        settings = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=code, **settings)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load a file anew, in a window of a size."""
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        until = time.monotonic() + SECONDS
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._read(until, "the page")

    def size(self, width: int, height: int) -> None:
        """The size of the window in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def media(self, name: str) -> None:
        """As on a screen, or in print."""
        self.call("Emulation.setEmulatedMedia", media=name)

    def mouse(self, x: float, y: float, click: bool = False) -> None:
        """Move the mouse to a place of the window, and click there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str, code: int, shift: bool = False) -> None:
        """Press a key and let it go."""
        settings: dict[str, Any] = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        settings["modifiers"] = 8 if shift else 0
        if name == "Enter":
            settings["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", **settings)
        self.call(
            "Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in settings.items() if k != "text"}
        )

    def shot(self, path: Path, whole: bool = True) -> None:
        """A picture of the page, or of what is seen of it, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def asked_for(self) -> list[str]:
        """The addresses of all requests since the page was opened."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [e["params"]["request"]["url"] for e in sent]

    def complaints(self) -> list[Any]:
        """What stands in the console: messages, errors, and what the policy refused."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e["params"] for e in self.events if e["method"] in kinds]

    def close(self) -> None:
        """End the browser and remove its folder."""
        # Asked for, so that its own processes have ended and write no more into the folder.
        self.session = ""
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.into)
        shutil.rmtree(self.folder, ignore_errors=True)
