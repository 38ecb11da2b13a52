"""What is forgotten with its owner is forgotten where no Ctrl+C can cut it."""

import ast
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine import origins
from tinygrad_seq.optim import buffers
from tinygrad_seq.runtime.weakrefs import WeakMap, forgotten_with

PACKAGE = Path(tgs.__file__).parent


class Thing:
    pass


def test_nothing_of_ours_runs_when_something_dies() -> None:
    """No callback in Python, no `__del__`, no `finalize`, no dictionary of `weakref`, in any file of the package."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node)
            where = f"{path.name}: {text}"
            if isinstance(node, ast.FunctionDef):
                assert node.name != "__del__", path
            if (
                isinstance(node, ast.Call)
                and text.startswith(("weakref.ref(", "ref("))
                and len(node.args) > 1
            ):
                assert path.name == "weakrefs.py", where
            if isinstance(node, ast.Attribute | ast.Name):
                assert text not in (
                    "weakref.finalize", "weakref.WeakKeyDictionary", "weakref.WeakValueDictionary", "weakref.WeakSet",
                    "WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "finalize", "weakref.WeakMethod",
                ), where  # fmt: skip


def test_map_forgets_with_the_key() -> None:
    """Found by identity; gone with the object; an entry that is popped is no trouble later."""
    found: WeakMap[int] = WeakMap()
    one, two = Thing(), Thing()
    found[one], found[two] = 1, 2
    found[one] = 3
    assert (found[one], found.get(two, 0), found.get(Thing(), 0), one in found, len(found)) == (
        3,
        2,
        0,
        True,
        2,
    )
    assert (found.pop(two, 0), found.pop(two, 0)) == (2, 0)
    del one, two
    gc.collect()
    assert len(found) == 0


def test_a_table_loses_the_entry_only() -> None:
    """Another entry, or one already gone, is left alone."""
    table: dict[int, object] = {1: "kept"}
    thing = Thing()
    table[id(thing)] = forgotten_with(thing, table)
    del thing
    assert table == {1: "kept"}


def test_tables_of_the_engine_empty_themselves() -> None:
    """Arrays changed in place, detached, cut up: nothing is left of them."""
    gc.collect()
    before = len(nodes._changed), len(origins._notes), len(buffers._cut)
    x = tgs.tensor(np.ones(5), requires_grad=True)
    y = (x * 2.0).detach()
    nodes.mark_changed(y.array)
    views = buffers.cut_up(np.ones(4), buffers.spans([np.ones(2), np.ones(2)]))
    assert (len(nodes._changed), len(origins._notes), len(buffers._cut)) > before
    del x, y, views
    gc.collect()
    assert (len(nodes._changed), len(origins._notes), len(buffers._cut)) == before


PRESSED = """
import os, signal, sys, threading, time
import numpy as np
import tinygrad_seq as tgs
from tinygrad_seq.engine import node as nodes
from tinygrad_seq.engine.anomaly import Watcher

armed, over, caught = False, False, 0
def handler(number, frame):
    global armed
    if armed:
        armed = False  # one press at a time, so that each is caught below
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
def press():
    while not over:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.0005)
presser = threading.Thread(target=press)
class Thing: pass
watcher = Watcher()
presser.start()
while caught < 300:
    try:
        armed = True
        while True:
            for _ in range(100):
                array = np.ones(3)
                nodes.mark_changed(array)
                thing = Thing()
                watcher.sizes[thing] = 1.0
                del array, thing
    except KeyboardInterrupt:
        caught += 1
over = True
presser.join()
print(caught)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals to oneself")
def test_ctrl_c_is_never_swallowed() -> None:
    """Pressed 300 times while arrays die: each press is an exception that is caught, none is printed and lost."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", PRESSED], capture_output=True, text=True, env=environment, timeout=120
    )
    assert (done.stdout, done.stderr) == ("300\n", "")
