"""The report on a model and a text: one record of all measurements, and one HTML page that needs no other file."""

from tinygrad_seq.analysis.report.captions import Token, tokens_of
from tinygrad_seq.analysis.report.page import page_of
from tinygrad_seq.analysis.report.record import SECTIONS, GateOnText, Heads, Layer, Record
from tinygrad_seq.analysis.report.report import LONGEST, Report

__all__ = [
    "LONGEST",
    "SECTIONS",
    "GateOnText",
    "Heads",
    "Layer",
    "Record",
    "Report",
    "Token",
    "page_of",
    "tokens_of",
]
