"""`Replay`: a function recorded once and run again on arrays, without Tensors and without gradients."""

from tinygrad_seq.replay.replay import Replay

__all__ = ["Replay"]
