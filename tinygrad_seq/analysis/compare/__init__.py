"""Runs and models beside each other: records of runs, baselines that count, and a ladder of models on one text."""

from tinygrad_seq.analysis.compare.chart import draw_ladder, draw_runs
from tinygrad_seq.analysis.compare.common_text import Parts, named_text, own_parts
from tinygrad_seq.analysis.compare.counting import baselines
from tinygrad_seq.analysis.compare.records import Record, read_record
from tinygrad_seq.analysis.compare.rungs import Protocol, Rung, broken, ladder
from tinygrad_seq.analysis.compare.runs import Compared, compare, measured_again

__all__ = [
    "Compared",
    "Parts",
    "Protocol",
    "Record",
    "Rung",
    "baselines",
    "broken",
    "compare",
    "draw_ladder",
    "draw_runs",
    "ladder",
    "measured_again",
    "named_text",
    "own_parts",
    "read_record",
]
