"""Text in, batches of ids out: corpora, tokenizers and the two ways of walking through a text.

Plain NumPy; nothing here knows of tensors, models or the training loop.
"""

from .batches import Batch, RandomWindows, Streams, windows
from .bpe import BPETokenizer
from .byte_tokenizer import ByteTokenizer
from .corpora import Corpus, from_texts, read_text, stream_text
from .idx import labelled_images, read_idx
from .jamo import JamoTokenizer
from .mapped import let_go
from .splitting import Splits, split, split_columns
from .token_cache import Progress, is_large, stored_texts, stored_tokens
from .tokenizer import Decoder, Rates, TextSize, Tokenizer, rates
from .tokenizer_kinds import learn_tokenizer, load_tokenizer
from .tokens import Tokens, tokenize
from .vocabulary import Vocabulary

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
