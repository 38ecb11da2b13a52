"""The prime of an example command: a word of the run's own text, in its own script."""

from __future__ import annotations

import re
from collections import Counter

from tinygrad_seq.data import Tokenizer

__all__ = ["prime_of"]

_LONGEST = 12  # characters


def prime_of(head: str, tokenizer: Tokenizer) -> str:
    r"""The word that most lines in the beginning of a text begin with, and the blank behind it, as far as the model
    knows them; of a text without blanks the first characters of a line. Nothing where no line begins with a letter.

    >>> from tinygrad_seq.data import Vocabulary
    >>> text = "The cat sat.\nIt was red.\nThe dog ran.\n"
    >>> prime_of(text, Vocabulary(text))
    'The '
    >>> prime_of("나는 간다\n너는 온다\n나는 잔다\n", Vocabulary("가나너는온잔다 "))
    '나는 '
    """
    # The last line may have been cut.
    lines = head.splitlines()[:-1] or head.splitlines()
    found = [match for line in lines if (match := re.match(r"\s*([^\W_]\w*)( ?)", line))]
    primes = Counter(match[1][:_LONGEST] + (match[2] if len(match[1]) <= _LONGEST else "") for match in found)
    # Of equally frequent words the first in the text; a single letter is a poor prime.
    ordered = sorted(primes, key=lambda prime: (len(prime.strip()) < 2, -primes[prime]))
    return next((prime for prime in ordered if tokenizer.knows(prime)), "")
