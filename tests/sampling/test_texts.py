"""Laws of texts: log-probabilities, several at once, `until`, primes of every kind, and beams."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

from tinygrad_seq.data import ByteTokenizer, JamoTokenizer, Vocabulary
from tinygrad_seq.engine.random import Generator
from tinygrad_seq.errors import ArgumentError, DataError, NonFiniteError
from tinygrad_seq.models import GPT, CharLM, SymbolAR
from tinygrad_seq.sampling import DecodingConfig, Sampler, beam_search, sample, sample_stream
from tinygrad_seq.sampling.sampler import Token

VOCABULARY = Vocabulary("abcd\n")


def loud(model: Any) -> Any:
    """Weights so large that each symbol depends on all before it."""
    for p in model.parameters():
        p.assign(p.numpy() * 4)
    return model


def lstm(symbols: int = 5) -> CharLM:
    return loud(CharLM(symbols, 8, 2, rng=Generator(25)))  # type: ignore[no-any-return]


def gpt(symbols: int = 5) -> GPT:
    return loud(GPT(symbols, block=12, layers=1, heads=2, width=8, rng=Generator(1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [lstm, gpt])
@pytest.mark.parametrize("prime", ["", "abca", "abcd" * 20])
def test_log_probabilities_are_the_models_score(make: Any, prime: str) -> None:
    """Of the text as learnt, however it was chosen; bits for each character and byte follow."""
    model = make()
    how = DecodingConfig(0.7, top_k=4, top_p=0.95, min_p=0.01, repetition_penalty=1.2)
    made = Sampler(model, VOCABULARY, how).sample(prime, 60, rng=Generator(1))
    begun = VOCABULARY.encode(prime or "\n")
    score = model.score(np.concatenate([begun, made.ids]))[len(begun) :]
    np.testing.assert_allclose(made.log_probs, score, rtol=0, atol=2e-4)
    assert made.log_prob == math.fsum(made.log_probs)
    assert made.bits_per_character == pytest.approx(-made.log_prob / math.log(2) / 60)
    assert VOCABULARY.decode(made.ids) == made.text
    assert (made.prime, made.ended, made.characters) == (prime, "length", 60)


def test_bits_per_byte_count_bytes() -> None:
    """Two bytes for an é; a byte model's tokens are bytes, and the text ends with whole characters."""
    vocabulary = Vocabulary("\u00e9\uac00")
    made = Sampler(lstm(2), vocabulary).sample("", 20, rng=Generator(1))
    size = sum(len(c.encode()) for c in made.text)
    assert made.utf8_bytes == size > 40
    assert made.bits_per_byte == pytest.approx(made.bits_per_character * 20 / size)
    made = Sampler(lstm(256), ByteTokenizer()).sample("é", 5, rng=Generator(1))
    assert len(made.text) == 5 <= len(made.ids)


@pytest.mark.parametrize("make", [lstm, gpt])
def test_sample_is_the_same_alone_and_among_others(make: Any) -> None:
    """Choices and log-probabilities to the bit, and no two texts are alike."""
    sampler = Sampler(make(), VOCABULARY, DecodingConfig(1.0))
    together = sampler.samples(5, "ab", 40, rng=Generator(7))
    assert len({one.text for one in together}) == 5
    for i, one in enumerate(together):
        fresh = Sampler(make(), VOCABULARY, DecodingConfig(1.0))
        assert fresh.samples(1, "ab", 40, rng=Generator(7), first=i) == [one]
    assert together[0].text == sample(make(), VOCABULARY, "ab", 40, 1.0, Generator(7))


def test_reading_a_stream_costs_what_is_read() -> None:
    """One number is drawn for each token, and none before the first is asked for."""
    rng = Generator(7)
    tokens = Sampler(lstm(), VOCABULARY, DecodingConfig(1.0, top_k=3)).tokens("a", 10**9, rng=rng)
    assert rng.drawn == 0
    first = list(itertools.islice(tokens, 30))
    assert rng.drawn == 30
    assert all(type(t) is Token and t.candidates == () for t in first)
    text = sample(lstm(), VOCABULARY, "a", 30, 1.0, Generator(7), top_k=3)
    assert "".join(t.text for t in first) == text


def test_until_ends_the_text_where_it_appears() -> None:
    """Across tokens, in the text alone and not in the prime, and with nothing behind it."""
    whole = sample(lstm(), VOCABULARY, "ab", 300, 1.0, Generator(2))
    for until in (whole[0], whole[5:7], whole[20:24], whole[250:260]):
        made = Sampler(lstm(), VOCABULARY, DecodingConfig(1.0)).sample(
            "ab", 300, rng=Generator(2), until=until
        )
        assert made.text == whole[: whole.index(until) + len(until)]
        assert made.ended == "until"
        assert len(made.ids) == len(made.text)
    made = Sampler(lstm(), VOCABULARY, DecodingConfig(1.0)).sample("ab", 9, rng=Generator(2), until="xyz")
    assert (made.text, made.ended) == (whole[:9], "length")
    text = "".join(sample_stream(lstm(), VOCABULARY, "ab", 300, 1.0, Generator(2), until=whole[5:8]))
    assert text == whole[: whole.index(whole[5:8]) + 3]


def test_repetition_penalty_counts_prime_and_text() -> None:
    """So heavy a penalty lets greedy text go through all symbols before any comes again."""
    model = lstm()
    model.head.bias.assign(model.head.bias.numpy() - 100)  # type: ignore[union-attr]
    assert sorted(sample(model, VOCABULARY, "ab", 3, 0, repetition_penalty=1e3)) == sorted("cd\n")
    assert len(set(sample(model, VOCABULARY, "", 5, 0, repetition_penalty=1e3))) == 5, "no prime, none seen"


def test_candidates_before_and_after() -> None:
    """As many as asked for, the likeliest first, the drawn one among them; what is cut off has no chance left."""
    sampler = Sampler(lstm(), VOCABULARY, DecodingConfig(0.5, top_k=2))
    for token in sampler.tokens("a", 30, rng=Generator(1), explain=3):
        assert len(token.candidates) == 3
        assert token.id in [one.id for one in token.candidates]
        drawn = [one.drawn for one in token.candidates]
        assert drawn[2] == 0.0
        assert sum(drawn) == pytest.approx(1.0)
        tempered = [one.tempered for one in token.candidates]
        assert tempered == sorted(tempered, reverse=True)
        one = next(one for one in token.candidates if one.id == token.id)
        assert math.log(one.learnt) == pytest.approx(token.log_prob)
        assert one.text == token.text
    only = [t.candidates for t in Sampler(lstm(), VOCABULARY, DecodingConfig(3.0)).tokens("a", 30, explain=1)]
    assert all(len(row) == 1 for row in only)


def test_jamo_texts_are_well_formed() -> None:
    """No setting draws what may not follow, also after a prime that ends within a syllable."""
    tokenizer = JamoTokenizer.learn(["가나다 한글!"])
    how = DecodingConfig(3.0, top_k=30, repetition_penalty=1.1)
    made = Sampler(lstm(len(tokenizer)), tokenizer, how).sample("", 50, rng=Generator(1))
    assert tokenizer.ill_formed(made.ids[:-1]) <= 1
    assert len(made.text) == 50
    begun = Sampler(lstm(len(tokenizer)), tokenizer, how).tokens("\u1112", 1, rng=Generator(1))
    assert tokenizer.ill_formed([int(tokenizer.encode("\u1112")[0]), next(iter(begun)).id]) == 0


def test_jamo_leaves_the_prime_as_it_was_given() -> None:
    """A final letter after an open syllable would make another of it, and stand alone in what is written."""
    tokenizer = JamoTokenizer.learn(["가나다 한글!"])
    sampler = Sampler(lstm(len(tokenizer)), tokenizer, DecodingConfig(50.0))
    for prime in ("가", "각", "가 ", ""):
        for seed in range(30):
            made = sampler.sample(prime, 3, rng=Generator(seed)).text
            assert len(made) == 3
            assert normalize("NFC", prime + made) == prime + made
            assert not [c for c in made if "\u1100" <= c <= "\u11ff"]
    for beam in beam_search(lstm(len(tokenizer)), tokenizer, "가", width=30, length=3):
        assert not "\u11a8" <= beam.text[0] <= "\u11ff"


def test_prime_of_any_length_is_read_in_bounded_memory() -> None:
    """100,000 characters; an LSTM has forgotten all but the last of them."""
    prime = "abcd\n" * 20_000
    assert sample(lstm(), VOCABULARY, prime, 20, 0) == sample(lstm(), VOCABULARY, prime[-500:], 20, 0)
    for model in (lstm(), loud(GPT(5, block=64, layers=1, heads=2, width=8, rng=Generator(1)))):
        sample(model, VOCABULARY, prime[:200], 5)
        tracemalloc.start()
        sample(model, VOCABULARY, prime[:5000], 5, 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3e6, "5,000 steps kept would be more"


def test_unknown_characters_of_the_prime() -> None:
    """Refused, left out or replaced; where nothing is left it is as without a prime."""
    with pytest.raises(DataError, match="the vocabulary does not hold 'x', '\u2603'"):
        sample(lstm(), VOCABULARY, "axb\u2603", 5)
    skipped = sample(lstm(), VOCABULARY, "axb", 20, 0, on_unknown="skip")
    assert skipped == sample(lstm(), VOCABULARY, "ab", 20, 0)
    assert sample(lstm(), VOCABULARY, "xyz", 20, 0, on_unknown="skip") == sample(
        lstm(), VOCABULARY, "", 20, 0
    )
    with pytest.raises(DataError, match="nothing to replace unknown characters with"):
        sample(lstm(), VOCABULARY, "x", 5, on_unknown="replace")
    with pytest.raises(ArgumentError, match="on_unknown out of range"):
        sample(lstm(), VOCABULARY, "a", 5, on_unknown="drop")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"n": -1}, "sample: n is no count.\n  expected a whole number of at least 0, got -1."),
        ({"until": ""}, "sample: until is no text.\n  until: ''\n  expected the text to end with, or None."),
        ({"until": 3}, "sample: until is no text.\n  until: 3\n  expected the text to end with, or None."),
        (
            {"explain": 1.5},
            "sample: explain is no count.\n  expected a whole number of at least 0, got 1.5.",
        ),
        ({"count": 0}, "sample: count is no count.\n  expected a whole number of at least 1, got 0."),
        ({"first": -1}, "sample: first is no count.\n  expected a whole number of at least 0, got -1."),
    ],
)
def test_wrong_settings_are_refused_at_once(settings: Any, text: str) -> None:
    """One error each."""
    with pytest.raises(ArgumentError) as caught:
        Sampler(lstm(), VOCABULARY).samples(**{"count": 1, **settings})
    assert str(caught.value) == text


def test_model_that_breaks_down_on_the_way() -> None:
    """NaN after some characters is an error where it arises."""
    model = lstm()
    tokens = Sampler(model, VOCABULARY).tokens("a", 50)
    for _ in range(5):
        next(tokens)
    model.head.bias.assign(np.full(5, np.nan))  # type: ignore[union-attr]
    with pytest.raises(NonFiniteError, match="the model's logits are not finite"):
        list(tokens)


def test_model_without_room_says_so() -> None:
    """One with a last place stops with an error instead of a text that means nothing."""
    model = SymbolAR(5, 2, rng=Generator(0))
    model.longest = 10
    with pytest.raises(DataError) as caught:
        sample(model, VOCABULARY, "abc", 20)
    assert str(caught.value) == (
        "sample: the model can read no more symbols.\n"
        "  expected at most 10, of the prime and of what is written after it.\n"
        "  Shorten the prime, or ask for fewer characters."
    )
    assert len(sample(model, VOCABULARY, "abc", 8)) == 8


# ---- beams ---------------------------------------------------------------------------------------------------
def all_texts(model: Any, length: int, until: str | None, alpha: float) -> list[tuple[float, str]]:
    """Every text of so many symbols, cut where `until` comes, with its score."""
    begun, found = VOCABULARY.encode("ab"), {}
    for ids in itertools.product(range(5), repeat=length):
        text = VOCABULARY.decode(ids)
        if until and until in text:
            text = text[: text.index(until) + len(until)]
        if text not in found:
            row = np.concatenate([begun, VOCABULARY.encode(text)])
            found[text] = float(model.score(row)[2:].sum()) / ((5 + len(text)) / 6) ** alpha
    return sorted(((score, text) for text, score in found.items()), reverse=True)


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("until", [None, "\n", "cb"])
def test_wide_beam_search_is_exhaustive(until: str | None, alpha: float) -> None:
    """The ten best of all 625 texts, in order."""
    model = lstm()
    beams = beam_search(model, VOCABULARY, "ab", 625, 4, length_penalty=alpha, until=until)
    best = all_texts(model, 4, until, alpha)
    assert [beam.text for beam in beams[:10]] == [text for _, text in best[:10]]
    np.testing.assert_allclose([b.score for b in beams[:10]], [s for s, _ in best[:10]], atol=1e-4)
    assert all(b.ended == ("until" if until and until in b.text else "length") for b in beams)


def test_narrow_beams() -> None:
    """A width of 1 is greedy; wider ones do no worse here; the same call gives the same beams."""
    greedy = sample(lstm(), VOCABULARY, "ab", 12, 0)
    one = beam_search(lstm(), VOCABULARY, "ab", 1, 12)
    assert [b.text for b in one] == [greedy]
    scores = [beam_search(lstm(), VOCABULARY, "ab", w, 12)[0].log_prob for w in (1, 4, 64)]
    assert scores == sorted(scores)
    assert beam_search(gpt(), VOCABULARY, "ab", 3, 30) == beam_search(gpt(), VOCABULARY, "ab", 3, 30)
    with pytest.raises(ArgumentError) as caught:
        beam_search(lstm(), VOCABULARY, length_penalty=-1)
    assert str(caught.value) == (
        "sample: length_penalty out of range.\n  length_penalty: -1\n"
        "  expected a finite number from 0 upwards; 0 compares log-probabilities."
    )
    for bad in ({"width": 0}, {"length": 0}, {"until": ""}):
        with pytest.raises(ArgumentError, match="sample: "):
            beam_search(lstm(), VOCABULARY, **bad)  # type: ignore[arg-type]
