"""Figures that others have published for character models, each with its setting and source: nats per character.

They show the order of magnitude; they are no targets, because splits, tokenizers and protocols differ.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ELSEWHERE", "TINY_SHAKESPEARE", "Published", "published_for"]

TINY_SHAKESPEARE = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
"""SHA-256 of the 1,115,394 characters of char-rnn's data/tinyshakespeare/input.txt."""


@dataclass(frozen=True)
class Published:
    """`nats` per character in validation, of a model on a text, and who says so."""

    text: str
    model: str
    nats: float
    source: str


_SHAKESPEARE = (
    Published(
        "Tiny Shakespeare",
        "GPT of 4 x 128, 2,000 steps of 12 x 64",
        1.88,
        "nanoGPT, README, on a laptop's CPU (20 random batches); replicated at 1.8857",
    ),
    Published(
        "Tiny Shakespeare",
        "LSTM of 2 x 128, Adam, lr halved every 5 epochs",
        1.65,
        "torch-rnn, issue 17: a user is stuck at 1.6 to 1.7",
    ),
    Published(
        "Tiny Shakespeare",
        "GPT of 6 x 384, dropout 0.2, 5,000 steps of 64 x 256",
        1.4697,
        "nanoGPT, README, 3 minutes of an A100 (random batches)",
    ),
    Published(
        "Tiny Shakespeare",
        "LSTM, 50 epochs of char-rnn, size not stated",
        1.4199,
        "char-rnn, a user's run; its own split",
    ),
)
ELSEWHERE = (
    Published("Kafka, Metamorphosis", "RNN of 100, in training", 1.724, "min-char-rnn, after 100,000 steps"),
    Published("War and Peace", "best LSTM", 1.077, "Karpathy, Johnson and Fei-Fei, 2015 (20-gram: 1.195)"),
    Published("Penn Treebank, characters", "LSTM", 0.943, "Bai, Kolter and Koltun, 2018 (1.36 bits)"),
    Published("text8", "LSTM", 1.040, "Bai, Kolter and Koltun, 2018 (1.50 bits)"),
)
"""Other texts, for where nothing is known of a run's own."""


def published_for(sha256: str | None) -> tuple[Published, ...]:
    """The figures for a text, from the highest loss to the lowest; an empty list where there are none.

    >>> published_for(TINY_SHAKESPEARE)[0].nats, published_for("0")
    (1.88, ())
    """
    return _SHAKESPEARE if sha256 == TINY_SHAKESPEARE else ()
