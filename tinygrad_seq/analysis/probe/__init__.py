"""Measurements of a trained model on a text, as plain arrays: gates and states, units, attention, saliency."""

from tinygrad_seq.analysis.probe.attention_maps import Attended, Attention, attention_of, attention_on_text
from tinygrad_seq.analysis.probe.gate_health import Gate, LayerHealth, gates, health
from tinygrad_seq.analysis.probe.text import Activations, Window, activations, log_probs, saliency, windows_of
from tinygrad_seq.analysis.probe.units import Detected, cannot_tell, detectors, find_units
from tinygrad_seq.analysis.probe.unrolled_graph import Unrolled, step_by_step, unrolled
from tinygrad_seq.analysis.probe.windows import AttendedInWindows, Banded, attention_in_windows
from tinygrad_seq.nn.hooks import recurrent_layers, seeing, states_of

__all__ = [
    "Activations",
    "Attended",
    "AttendedInWindows",
    "Attention",
    "Banded",
    "Detected",
    "Gate",
    "LayerHealth",
    "Unrolled",
    "Window",
    "activations",
    "attention_in_windows",
    "attention_of",
    "attention_on_text",
    "cannot_tell",
    "detectors",
    "find_units",
    "gates",
    "health",
    "log_probs",
    "recurrent_layers",
    "saliency",
    "seeing",
    "states_of",
    "step_by_step",
    "unrolled",
    "windows_of",
]
