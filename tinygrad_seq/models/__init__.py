"""Models of sequences."""

from tinygrad_seq.models.char import CharLM

__all__ = ["CharLM"]
