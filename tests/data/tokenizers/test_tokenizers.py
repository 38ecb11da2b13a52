"""Laws of the tokenizers: what is decoded is what was encoded, whole, in pieces, one by one, and from a file."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_seq.data import (
    BPETokenizer,
    ByteTokenizer,
    Corpus,
    JamoTokenizer,
    TextSize,
    Tokenizer,
    Vocabulary,
    learn_tokenizer,
    load_tokenizer,
    rates,
    tokenize,
)
from tinygrad_seq.data.unicode import composed
from tinygrad_seq.errors import ArgumentError, CheckpointError, DataError, DTypeError

KOREAN = "천이백삼십사. 닭이 값을 했다 ㅋㅋ! naïve café, ﬁn — 한글 😀\n"
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TRICKY = st.text(st.sampled_from("aé\u0301\u0327\u0344가각각ᆨ\u1112ㅋ\u09c7\u09beÅ\u212b \n"), max_size=40)
KINDS = ["char", "byte", "jamo", pytest.param("bpe:300", marks=pytest.mark.extra("tokenizers"))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def message(error: type[Exception], call: Callable[..., object], *arguments: object, **named: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments, **named)
    assert type(caught.value) is error
    return str(caught.value)


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def one_by_one(tokenizer: Tokenizer, ids: np.ndarray) -> str:
    decoder = tokenizer.decoder()
    return "".join([*(decoder.feed(int(i)) for i in ids), decoder.finish()])


# ---------------------------------------------------------------- every kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "text", [KOREAN, unicodedata.normalize("NFD", KOREAN), "a", "aaaa" * 1000, "\0\U0010ffff"]
)
def test_decode_undoes_encode(kind: str, text: str) -> None:
    """Whole, one id at a time, and after a way through a file; sizes are those of the text."""
    tokenizer = learn_tokenizer(kind, text)
    ids = tokenizer.encode(text)
    want = text if kind in ("byte", "bpe:300") else nfc(text)
    assert ids.dtype == np.int64
    assert 0 <= ids.min() <= ids.max() < len(tokenizer)
    assert tokenizer.decode(ids) == tokenizer.decode(ids.astype(np.uint16)) == want
    assert one_by_one(tokenizer, ids) == want
    assert tokenizer.measure(ids) == (len(ids), len(want), len(want.encode()))
    tokenizer.save("t.json")
    loaded = load_tokenizer("t.json")
    assert loaded == tokenizer
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(text).tolist() == ids.tolist()
    assert os.listdir() == ["t.json"]


@given(PLAIN | TRICKY)
@example("")
@example("ᄀ")
def test_any_text_comes_back(text: str) -> None:
    """Byte by byte as it is; by letters in form NFC; also one by one and measured in pieces."""
    assert ByteTokenizer().decode(ByteTokenizer().encode(text)) == text
    assert one_by_one(ByteTokenizer(), ByteTokenizer().encode(text)) == text
    jamo = JamoTokenizer.learn([text])
    ids = jamo.encode(text)
    assert jamo.decode(ids) == one_by_one(jamo, ids) == nfc(text)


@given(PLAIN | TRICKY, st.integers(1, 5))
def test_pieces_are_composed_as_the_whole(text: str, size: int) -> None:
    """Form NFC of a text does not depend on where it was cut."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert "".join(composed(pieces)) == nfc(text)


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_in_pieces(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters cut in two between the pieces are counted once."""
    monkeypatch.setattr("tinygrad_seq.data.tokenizers.base._PIECE", 2)
    tokenizer = learn_tokenizer(kind, KOREAN)
    assert tokenizer.measure(tokenizer.encode(KOREAN))[1:] == (len(KOREAN), len(KOREAN.encode()))
    assert tokenizer.measure([]) == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_of_another_kind_are_refused(kind: str) -> None:
    """The same errors as for a vocabulary, and a word that is no choice."""
    tokenizer = learn_tokenizer(kind, "abc")
    assert message(DataError, tokenizer.decode, [0, len(tokenizer)]).startswith(
        f"decode: the vocabulary has no id {len(tokenizer)}.\n  ids: i64(2,)\n  position of the first: 1\n"
    )
    assert message(DTypeError, tokenizer.decode, [0.5]) == (
        "decode: ids are whole numbers.\n  ids: f64(1,)\n  expected integers."
    )
    assert message(DTypeError, tokenizer.encode, b"a") == (
        "encode: this is not text.\n  text: b'a'\n  expected a str."
    )
    assert message(ArgumentError, tokenizer.encode, "a", on_unknown="ski") == (
        "encode: on_unknown out of range.\n  on_unknown: 'ski'\n  expected one of error, skip, replace.\n"
        "  Did you mean 'skip'?"
    )
    assert tokenizer.encode("").tolist() == []
    assert tokenizer.decode([]) == ""


def test_kinds_have_fingerprints_of_their_own() -> None:
    """Equal symbols, other kind: other weights. The fingerprint of a vocabulary is what it always was."""
    jamo = JamoTokenizer.learn(["abc"])
    assert len({jamo.fingerprint, jamo.vocabulary.fingerprint, ByteTokenizer().fingerprint}) == 3
    assert JamoTokenizer.learn(["abcd"]).fingerprint != jamo.fingerprint
    assert Vocabulary("ab", form="NFC").fingerprint == Vocabulary("ab").fingerprint
    assert Vocabulary("ab").fingerprint == "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"


@pytest.mark.parametrize("kind", KINDS)
def test_sample_without_a_prime_begins_after_a_newline(kind: str) -> None:
    """Or after id 0 where there is no newline."""
    known = learn_tokenizer(kind, "a\nb")
    assert known.decode(known.start()) == "\n"
    assert known.knows("a")
    if kind in ("char", "jamo"):
        unknown = learn_tokenizer(kind, "ab")
        assert unknown.start().tolist() == [0]
        assert not unknown.knows("\n")


# ---------------------------------------------------------------- asking by name


def test_names_of_tokenizers() -> None:
    """What is asked for by name says so itself."""
    for spec in ("char", "byte", "jamo"):
        assert learn_tokenizer(spec, iter(["ab", "c"])).spec == spec
    for bad, hint in (
        ("chars", "\n  Did you mean 'char'?"),
        ("bpe:255", ""),
        ("bpe:", ""),
        ("bpe:x", ""),
        ("char:5", ""),
        (None, ""),
    ):
        assert message(ArgumentError, learn_tokenizer, bad, "a") == (
            f"tokenizer: there is no such tokenizer.\n  tokenizer: {bad!r}\n"
            f"  expected char, byte, jamo, or bpe:N with N ids, 256 at least.{hint}"
        )


def test_bytes_need_no_text() -> None:
    """Nothing is read where nothing is to be learnt."""

    def refuse() -> object:
        raise AssertionError
        yield

    assert len(learn_tokenizer("byte", refuse())) == 256
    assert message(DataError, learn_tokenizer, "char", "").startswith("Vocabulary: the text is empty.\n")


# ---------------------------------------------------------------- unknown characters


def test_vocabulary_in_form_nfc_knows_both_forms() -> None:
    """A prompt typed on a Mac is the same prompt; an older vocabulary without the form stays as it was."""
    vocabulary = learn_tokenizer("char", "한글 é")
    assert vocabulary.encode(unicodedata.normalize("NFD", "한é")).tolist() == [3, 1]
    vocabulary.save("v.json")
    assert json.loads(Path("v.json").read_bytes())["form"] == "NFC"
    assert load_tokenizer("v.json").encode("e\u0301").tolist() == [1]
    Path("v.json").write_text(Path("v.json").read_text().replace("NFC", "NFKC"))
    assert message(CheckpointError, load_tokenizer, "v.json").startswith(
        "load: 'v.json' names an unknown Unicode form: 'NFKC'.\n"
    )


def test_unknown_characters_are_counted_as_characters_where_letters_are_tokens() -> None:
    """한글 is six letters and two characters; an accent that is unknown makes its letter unknown."""
    tokenizer = learn_tokenizer("jamo", "abce ?")
    for text in ("한글XéX", unicodedata.normalize("NFD", "한글XéX")):
        assert message(DataError, tokenizer.encode, text).startswith(
            "encode: the vocabulary does not hold 'X', 'é'.\n  position of the first: 2\n"
        )
    assert message(DataError, tokenizer.encode, "닭é").startswith(
        "encode: the vocabulary does not hold 'é'.\n  position of the first: 1\n"
    )
    assert tokenizer.decode(tokenizer.encode("한é", "skip")) == "한e"
    with pytest.raises(DataError, match="nothing to replace unknown characters with"):
        learn_tokenizer("jamo", "a").encode("한X", "replace")


@pytest.mark.parametrize("kind", ["char", "jamo"])
def test_unknown_characters_are_listed_skipped_or_replaced(kind: str) -> None:
    """All of them are in the message; the known ones stay in their order."""
    tokenizer = learn_tokenizer(kind, "abc ?")
    assert message(DataError, tokenizer.encode, "aXbY").startswith(
        "encode: the vocabulary does not hold 'X', 'Y'.\n  position of the first: 1\n"
    )
    assert tokenizer.decode(tokenizer.encode("aXbY", "skip")) == "ab"
    assert tokenizer.decode(tokenizer.encode("aXbY", "replace")) == "a?b?"
    assert tokenizer.encode("XY", "skip").tolist() == []
    assert learn_tokenizer(kind, "a ?\ufffd").encode("X", "replace").tolist() == [
        len(learn_tokenizer(kind, "a ?\ufffd")) - 1
    ]
    assert message(DataError, learn_tokenizer(kind, "abc").encode, "X", on_unknown="replace").startswith(
        "encode: the vocabulary holds nothing to replace unknown characters with.\n"
    )


def test_bytes_and_letters_know_what_they_never_saw() -> None:
    """Every character has bytes, every modern syllable has letters."""
    assert ByteTokenizer().encode("한").tolist() == [0xED, 0x95, 0x9C]
    jamo = JamoTokenizer.learn([""])
    syllables = "".join(map(chr, range(0xAC00, 0xD7A4)))
    assert len(jamo) == 67
    assert jamo.decode(jamo.encode(syllables)) == syllables
    assert jamo.ill_formed(jamo.encode(syllables)) == 0


def test_bad_bytes_are_shown() -> None:
    """A model may write half a character; a lone surrogate has no UTF-8."""
    tokenizer = ByteTokenizer()
    assert tokenizer.decode([0xED, 0x95, 65]) == "\ufffdA"
    assert one_by_one(tokenizer, np.array([65, 0xED, 0x95])) == "A\ufffd"
    assert tokenizer.decode(tokenizer.encode("\ud800")) == "\ufffd" * 3


# ---------------------------------------------------------------- jamo


def test_letters_that_stand_alone_stay() -> None:
    """Compatibility letters are characters of their own; NFKD would have changed them."""
    jamo = JamoTokenizer.learn(["ㅋㅋ ㅠㅠ 닭"])
    assert jamo.decode(jamo.encode("ㅋㅋ ㅠㅠ 닭")) == "ㅋㅋ ㅠㅠ 닭"
    assert len(jamo.encode("닭이 값")) == 9
    assert len(jamo) == 67 + 3


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_what_the_automaton_allows_is_well_formed(draws: list[float]) -> None:
    """Whatever is drawn, no letter is left over: everything composes into whole syllables."""
    jamo = JamoTokenizer.learn(["가 나.ㅋ"])
    ids: list[int] = []
    for n, draw in enumerate(draws):
        allowed = np.flatnonzero(jamo.allowed(ids[-1] if ids else None, len(draws) - n))
        ids.append(int(allowed[int(draw * len(allowed))]))
    assert jamo.ill_formed(ids) == 0
    text = jamo.decode(ids)
    assert not any("\u1100" <= char <= "\u11ff" for char in text)
    assert one_by_one(jamo, np.array(ids)) == text


def test_automaton_allows_all_that_is_well_formed() -> None:
    """Every text without loose letters passes; each kind of loose letter is counted."""
    jamo = JamoTokenizer.learn([KOREAN])
    ids = jamo.encode(KOREAN)
    for n, i in enumerate(ids):
        assert jamo.allowed(int(ids[n - 1]) if n else None, len(ids) - n)[i]
    for text, count in (("ᄀ", 1), ("ᅡ", 1), ("ᆨ", 1), ("ᄀ가", 1), ("가ᅡ", 1), ("각ᆨ", 1), ("a각a", 0), ("", 0)):
        assert jamo.ill_formed(jamo.vocabulary.encode(unicodedata.normalize("NFD", text), "skip")) == count, (
            text
        )


def test_last_letter_ends_a_syllable() -> None:
    """With nothing to come, no lead is begun, unless there is no other way."""
    jamo = JamoTokenizer.learn(["가!"])
    lead, vowel = map(int, jamo.encode("가"))
    leads = {int(i) for i in range(len(jamo)) if "\u1100" <= jamo.vocabulary.symbols[i] <= "\u1112"}
    assert set(np.flatnonzero(jamo.allowed(None, 1))) & leads == set()
    assert set(np.flatnonzero(jamo.allowed(None, 2))) >= leads
    assert jamo.allowed(lead, 1).sum() == 21
    assert jamo.allowed(vowel, 1).sum() == 27 + 1
    only = JamoTokenizer.learn([])
    assert only.allowed(None, 1).sum() == 19
    assert Vocabulary("ab").allowed(0) is None


# ---------------------------------------------------------------- bpe


@pytest.mark.extra("tokenizers")
def test_merges_shorten_what_is_frequent() -> None:
    """Fewer ids than bytes, never across a space, the same merges every time; unseen text is encoded too."""
    text = "the cat and the dog and the cow and the hen\n" * 50
    one, other = BPETokenizer.learn([text], 280), learn_tokenizer("bpe:280", [text])
    assert 256 < len(one) <= 280
    assert one.spec == f"bpe:{len(one)}"
    assert one.measure(one.encode(text))[1:] == (len(text), len(text))
    assert len(one.encode(text)) < 0.5 * len(text)
    assert b" the" in one.pieces
    assert all(b" " not in piece[1:] for piece in one.pieces)
    assert one == other
    assert hash(one) == hash(other)
    assert one != BPETokenizer.learn([text], 260)
    for unseen in ("한글 😀\0", "  \n\n x", "\ud800"):
        assert one.decode(one.encode(unseen)) == unseen.replace("\ud800", "?")
    assert sorted(b"".join(one.pieces[:256])) == list(range(256))
    assert repr(one) == f"BPETokenizer({len(one)} ids)"


@pytest.mark.extra("tokenizers")
@pytest.mark.parametrize("at_once", [16, 64])
def test_pieces_are_merged_as_the_whole(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a text is cut for the package has no part in its ids, as long as a word ends there."""
    text = "one  two\n\n three, it's  a   longer\tword " * 20
    tokenizer = BPETokenizer.learn([text], 300)
    whole = tokenizer.encode(text).tolist()
    assert whole == tokenizer._tokenizer.encode(text).ids
    monkeypatch.setattr("tinygrad_seq.data.tokenizers.bpe._AT_ONCE", at_once)
    assert tokenizer.encode(text).tolist() == whole


@pytest.mark.extra("tokenizers")
def test_sizes_and_texts_that_merges_cannot_have() -> None:
    """At least one id for each byte, at least one character."""
    assert message(ArgumentError, BPETokenizer.learn, ["a"], 255) == (
        "bpe: size out of range.\n  size: 255\n"
        "  expected a whole number from 256 upwards, one id for each byte and more."
    )
    assert message(DataError, BPETokenizer.learn, ["", ""], 256) == (
        "bpe: the text is empty.\n  expected at least one character."
    )


def test_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning and loading say what to install."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    text = (
        "bpe: this tokenizer needs the package 'tokenizers', which is not installed.\n"
        "  Install it with: pip install 'tinygrad_seq[bpe]'\n"
        "  The tokenizers char, byte and jamo need nothing."
    )
    assert message(DataError, learn_tokenizer, "bpe:512", "text") == text
    saved = {"format": "tinygrad_seq tokenizer", "version": 1, "kind": "bpe", "model": {}}
    Path("t.json").write_text(json.dumps(saved))
    assert message(DataError, load_tokenizer, "t.json") == text


def test_import_does_not_bring_the_package() -> None:
    """`tgs --help` must not wait for it."""
    code = "import sys, tinygrad_seq.data; print('tokenizers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "kind", ["byte", "jamo", pytest.param("bpe:260", marks=pytest.mark.extra("tokenizers"))]
)
def test_what_save_did_not_write_is_refused(kind: str) -> None:
    """Each damage by itself; the undamaged file loads."""
    learn_tokenizer(kind, "aaab").save("t.json")
    good = json.loads(Path("t.json").read_bytes())
    load_tokenizer("t.json")
    changes: list[tuple[dict[str, object], str]] = [
        ({"version": 2}, "has version 2 of the format"),
        ({"kind": "word"}, "is of an unknown kind: 'word'"),
        ({"fingerprint": "0"}, "is damaged: its content is not what was written"),
    ]
    if kind == "jamo":
        changes += [
            ({"symbols": 3}, "is damaged: its content does not fit its kind"),
            ({"symbols": []}, "is damaged: its content does not fit its kind"),
            ({"symbols": ["z"]}, "is damaged: its content is not what was written"),
        ]
    for change, what in changes:
        Path("t.json").write_text(json.dumps({**good, **change}))
        assert message(CheckpointError, load_tokenizer, "t.json") == (
            f"load: 't.json' {what}.\n"
            "  expected a JSON file that a tokenizer's save wrote, version 1 of the format.\n"
            "  Give the file that belongs to the model, or copy it anew from where the model was trained."
        )
    if kind.startswith("bpe"):
        Path("t.json").write_text(json.dumps({**good, "model": {"a": 1}}))
        assert message(CheckpointError, load_tokenizer, "t.json").startswith(
            "load: the merges of this bpe tokenizer are damaged: "
        )


def test_other_files_are_refused_as_a_vocabulary_refuses_them() -> None:
    """Missing, not JSON, another format."""
    for content, what in (
        (None, "does not exist"),
        ("{", "is damaged: it is not JSON"),
        ("{}", "is not a vocabulary"),
    ):
        if content is not None:
            Path("t.json").write_text(content)
        assert message(CheckpointError, load_tokenizer, "t.json").startswith(f"load: 't.json' {what}.\n")


# ---------------------------------------------------------------- units


def test_losses_compare_across_tokenizers() -> None:
    """A uniform model of a text costs the same bits, whichever tokens it is cut into."""
    corpus = Corpus("가나다라" * 5)
    for kind, nats in (("char", math.log(4)), ("byte", math.log(4) / 3)):
        size = tokenize(corpus, kind).size
        assert size.characters == 20
        assert size.utf8_bytes == 60
        found = rates(nats, size)
        assert found.nats_per_token == nats
        assert math.isclose(found.bits_per_character, 2)
        assert math.isclose(found.bits_per_byte, 2 / 3)
    assert rates(1.0, TextSize(10, 10, 10)).bits_per_character == 1 / math.log(2)
