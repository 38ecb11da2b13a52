"""The selftest itself: it covers what it says, it holds here, and it fails where something is broken."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from tinygrad_seq import functional as F
from tinygrad_seq.analysis.doctor import checks, run_checks, self_checks
from tinygrad_seq.cli import main
from tinygrad_seq.engine.apply import wrap
from tinygrad_seq.engine.node import STATE
from tinygrad_seq.engine.op import OPS, Op
from tinygrad_seq.nn.rnn import cells

pytestmark = pytest.mark.switched_off

Tgs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tgs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tgs:
    """Runs a command here: its exit code, its output and its errors."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_every_primitive_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new op without a line in the table of the selftest is missed here."""
    seen: set[str] = set()

    class Seeing:
        def made(self, node: object, op: Op, inputs: object, out: object) -> None:
            seen.add(op.name)

    monkeypatch.setattr(STATE, "watch", Seeing())
    for _, fn, shapes in self_checks.PRIMITIVES:
        fn(*self_checks._drawn(shapes))
    assert seen == set(OPS)


def test_selftest_holds_here(tgs: Tgs) -> None:
    """Plain lines with times, exit code 0; it leaves the folder as it was."""
    code, out, err = tgs("selftest")
    assert (code, err) == (0, "")
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.split(",")[0] for line in heads[:-1]] == [
        f"ok      {check.name}".split(",")[0] for check in checks()
    ]
    assert heads[-1].startswith("all 4 checks hold, ")
    assert not set(out) & {chr(c) for c in range(32) if c != 10}


def test_selftest_without_kernels(tgs: Tgs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compositions are no fault."""
    monkeypatch.setattr(self_checks.jit, "switched_off", lambda: "numba is not installed")
    (outcome,) = run_checks([checks()[2]])
    assert outcome.ok
    assert outcome.words == (
        "no kernels here (numba is not installed): compositions run, slower, to the same effect"
    )


def test_a_wrong_rule_is_found(
    tgs: Tgs, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A gradient of tanh that is off by a thousandth fails the first check, is named, and gives exit code 1."""

    def wrong(g: object, out: object, x: object) -> object:
        return (g - g * (out * out)) * 1.001  # type: ignore[operator]

    tanh = OPS["tanh"]
    right = {name: getattr(tanh, name) for name in ("rules", "active")}
    object.__setattr__(tanh, "rules", (wrong,))
    object.__setattr__(tanh, "active", ((0, wrong),))
    request.addfinalizer(lambda: [object.__setattr__(tanh, *one) for one in right.items()] and None)
    monkeypatch.setattr(
        self_checks, "checks", lambda: [self_checks.Check("gradients", self_checks._primitives)]
    )
    code, out, err = tgs("selftest")
    assert (code, err) == (1, "")
    assert out.startswith("FAILED  gradients, ")
    assert "GradientError: sin, cos, tanh, erf: gradcheck: the gradient disagrees" in out
    assert "\n1 of 1 checks failed, " in out
    code, out, _ = tgs("selftest", "--json")
    assert code == 1
    said = json.loads(out)
    assert (said["ok"], said["checks"][0]["name"], said["checks"][0]["ok"]) == (False, "gradients", False)


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is off by a hundred thousandth of its composition."""
    if not self_checks.jit.kernels_wanted():
        pytest.skip("no kernels here")
    calls = [0]

    def shifty(x: object) -> object:
        calls[0] += 1  # the composition is asked for first
        return F.gelu(x) * (1.0 if calls[0] == 1 else 1.0001)  # type: ignore[arg-type]

    monkeypatch.setattr(self_checks, "_FUSED", [("shifty", shifty, [(5, 33)])])
    (outcome,) = run_checks([checks()[2]])
    assert not outcome.ok
    assert outcome.words.startswith("GradientError: selftest: shifty is off by 1.0e-04.")


def test_a_model_that_learns_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates that pass nothing on: the loss stays, and is said."""
    monkeypatch.setattr(
        "tinygrad_seq.training.step.optim.clip_grad_norm_", lambda p, clip: wrap(np.array(1.0))
    )
    monkeypatch.setattr("tinygrad_seq.optim.AdamW.step", lambda self: None)
    (outcome,) = run_checks([checks()[3]])
    assert not outcome.ok
    assert "selftest: 60 steps ended at 2." in outcome.words
    assert "expected less than 0.1; knowing nothing is 2.079." in outcome.words


def test_gates_are_among_what_is_compared() -> None:
    """Those of the recurrences that have any."""
    compared = {fn for _, fn, _ in self_checks._FUSED}
    assert {cells.lstm_gates, cells.gru_gates} <= compared
