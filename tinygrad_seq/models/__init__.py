"""Models of sequences behind one protocol: n-gram counts, autoregression, RNN, GRU, LSTM, GPT."""

from tinygrad_seq.models.autoregressive import MLPAR, LinearAR, OrderChoice, SymbolAR, select_order
from tinygrad_seq.models.char_lm import CharLM
from tinygrad_seq.models.counts import Markov, Naive
from tinygrad_seq.models.gpt import GPT
from tinygrad_seq.models.latent import LanguageModel, LatentAR
from tinygrad_seq.models.neural import NeuralModel
from tinygrad_seq.models.neural_markov import NeuralMarkov
from tinygrad_seq.models.protocol import Normal, SequenceModel, SeriesModel, SymbolModel

__all__ = [
    "GPT",
    "MLPAR",
    "CharLM",
    "LanguageModel",
    "LatentAR",
    "LinearAR",
    "Markov",
    "Naive",
    "NeuralMarkov",
    "NeuralModel",
    "Normal",
    "OrderChoice",
    "SequenceModel",
    "SeriesModel",
    "SymbolAR",
    "SymbolModel",
    "select_order",
]
