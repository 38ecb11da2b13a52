"""What is wrong, in words: with this machine, with a run, with this installation."""

from tinygrad_seq.diagnosis.course import Verdict
from tinygrad_seq.diagnosis.machine import examine
from tinygrad_seq.diagnosis.published import Published, published_for
from tinygrad_seq.diagnosis.run import verdicts
from tinygrad_seq.diagnosis.selftest import Check, Outcome, checks, run_checks

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
