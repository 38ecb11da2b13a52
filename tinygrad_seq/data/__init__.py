"""Text in, batches of ids out: corpora, vocabularies and the two ways of walking through a text.

Plain NumPy; nothing here knows of tensors, models or the training loop.
"""

from .batches import Batch, Splits, Streams, split, windows
from .corpora import Corpus, read_text
from .vocabulary import Vocabulary

__all__ = ["Batch", "Corpus", "Splits", "Streams", "Vocabulary", "read_text", "split", "windows"]
