"""Charts of the gradient through time and of a run, drawn by matplotlib (the extra `plot`).

Each takes `ax=` and returns a `Chart`: the axes, and the numbers that were drawn. Matplotlib is imported when
the first chart is drawn; pyplot neither shows nor keeps a figure.
"""

from tinygrad_seq.analysis.plots.curves import gradients, learning
from tinygrad_seq.analysis.plots.decomposition import bias, ledger, parts, paths, spectra
from tinygrad_seq.analysis.plots.figure import Chart
from tinygrad_seq.analysis.plots.through_time import decay, reach, rnn_bound, side_by_side

__all__ = [
    "Chart",
    "bias",
    "decay",
    "gradients",
    "learning",
    "ledger",
    "parts",
    "paths",
    "reach",
    "rnn_bound",
    "side_by_side",
    "spectra",
]
