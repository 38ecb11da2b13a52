"""Text from a trained model: drawn token by token, several at once, with a state or without; and beam search."""

from tinygrad_seq.sampling.api import sample, sample_stream
from tinygrad_seq.sampling.beam import Beam, beam_search
from tinygrad_seq.sampling.characters import Character, characters_of
from tinygrad_seq.sampling.decoding import DecodingConfig, probabilities
from tinygrad_seq.sampling.sampler import Candidate, Sample, Sampler, Token

__all__ = [
    "Beam",
    "Candidate",
    "Character",
    "DecodingConfig",
    "Sample",
    "Sampler",
    "Token",
    "beam_search",
    "characters_of",
    "probabilities",
    "sample",
    "sample_stream",
]
