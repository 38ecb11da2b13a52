"""Training, evaluating and sampling a character model, and the folder that a run leaves behind."""

from tinygrad_seq.sampling import sample, sample_stream
from tinygrad_seq.training.config import Config
from tinygrad_seq.training.evaluation import Measured, bits, difference, evaluate, measure
from tinygrad_seq.training.events import (
    Evaluated,
    Event,
    Finished,
    Interrupted,
    Sampled,
    Saved,
    Started,
    Step,
)
from tinygrad_seq.training.gradient_flow import Flow
from tinygrad_seq.training.loop import resume, train
from tinygrad_seq.training.module_loop import Fitted
from tinygrad_seq.training.notebook import Notebook, shown
from tinygrad_seq.training.presets import PRESETS, preset
from tinygrad_seq.training.run_folder import Run, free_folder, load_run, usual_name
from tinygrad_seq.training.run_to_end import fit

__all__ = [
    "PRESETS",
    "Config",
    "Evaluated",
    "Event",
    "Finished",
    "Fitted",
    "Flow",
    "Interrupted",
    "Measured",
    "Notebook",
    "Run",
    "Sampled",
    "Saved",
    "Started",
    "Step",
    "bits",
    "difference",
    "evaluate",
    "fit",
    "free_folder",
    "load_run",
    "measure",
    "preset",
    "resume",
    "sample",
    "sample_stream",
    "shown",
    "train",
    "usual_name",
]
