"""Text in, batches of ids out: corpora, tokenizers, and two kinds of batches, random windows and parallel streams.

Tokens and batches are NumPy arrays of integers. Nothing here imports a model or the training loop.
"""

from tinygrad_seq.data.batches import Batch, RandomWindows, Streams, windows
from tinygrad_seq.data.idx import labelled_images, read_idx
from tinygrad_seq.data.mapped import let_go
from tinygrad_seq.data.sources.corpus import Corpus, from_texts, read_text, stream_text
from tinygrad_seq.data.splitting import Splits, split, split_columns
from tinygrad_seq.data.store.cache import Progress, is_large, stored_texts, stored_tokens
from tinygrad_seq.data.store.tokens import Tokens, tokenize
from tinygrad_seq.data.tokenizers.base import Decoder, Rates, TextSize, Tokenizer, rates
from tinygrad_seq.data.tokenizers.bpe import BPETokenizer
from tinygrad_seq.data.tokenizers.byte import ByteTokenizer
from tinygrad_seq.data.tokenizers.char import Vocabulary
from tinygrad_seq.data.tokenizers.jamo import JamoTokenizer
from tinygrad_seq.data.tokenizers.registry import learn_tokenizer, load_tokenizer

__all__ = [
    "BPETokenizer",
    "Batch",
    "ByteTokenizer",
    "Corpus",
    "Decoder",
    "JamoTokenizer",
    "Progress",
    "RandomWindows",
    "Rates",
    "Splits",
    "Streams",
    "TextSize",
    "Tokenizer",
    "Tokens",
    "Vocabulary",
    "from_texts",
    "is_large",
    "labelled_images",
    "learn_tokenizer",
    "let_go",
    "load_tokenizer",
    "rates",
    "read_idx",
    "read_text",
    "split",
    "split_columns",
    "stored_texts",
    "stored_tokens",
    "stream_text",
    "tokenize",
    "windows",
]
