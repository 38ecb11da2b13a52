"""Diagnosis in plain sentences: of this machine, of a run, of this installation."""

from tinygrad_seq.analysis.doctor.judge import Verdict
from tinygrad_seq.analysis.doctor.machine import examine
from tinygrad_seq.analysis.doctor.published import Published, published_for
from tinygrad_seq.analysis.doctor.run import verdicts
from tinygrad_seq.analysis.doctor.self_checks import Check, Outcome, checks, run_checks

__all__ = [
    "Check",
    "Outcome",
    "Published",
    "Verdict",
    "checks",
    "examine",
    "published_for",
    "run_checks",
    "verdicts",
]
