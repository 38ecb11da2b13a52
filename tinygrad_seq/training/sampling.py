"""Where `sample` and `sample_stream` were; they are in `tinygrad_seq.sampling`."""

from tinygrad_seq.sampling import sample, sample_stream

__all__ = ["sample", "sample_stream"]
