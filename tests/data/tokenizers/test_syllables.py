"""Letters and bytes of one character stand together: in `spans`, in a sample told apart, and on the command line."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tinygrad_seq.cli import main
from tinygrad_seq.data import BPETokenizer, ByteTokenizer, JamoTokenizer, Tokenizer, Vocabulary
from tinygrad_seq.data.symbols import label_of, placed_label_of
from tinygrad_seq.errors import DataError
from tinygrad_seq.models import CharLM
from tinygrad_seq.sampling import DecodingConfig, Sample, Sampler, characters_of
from tinygrad_seq.training import load_run

KOREAN = '옛날 옛적에 "떡 하나" 주면 값닭, ㅋㅋ ㅠ! café 😀½\n'
CHARACTERS = st.text(alphabet="가각힣한글값닭옛ㅋㅠㄱ ab.\n1é½😀中", max_size=30)


@settings(max_examples=60, deadline=None)
@given(CHARACTERS)
def test_spans_are_the_characters_of_the_text(text: str) -> None:
    """One span a character, without a gap, of letters, of bytes, and of characters alone."""
    for tokenizer in (JamoTokenizer.learn([text + "가"]), ByteTokenizer(), Vocabulary.learn([text + "가"])):
        ids = tokenizer.encode(text)
        spans = tokenizer.spans(ids)
        assert [tokenizer.decode(ids[a:b]) for a, b in spans] == list(text)
        assert [i for a, b in spans for i in range(a, b)] == list(range(len(ids)))


def test_spans_of_syllables_that_are_none() -> None:
    """Letters that nothing completes stand alone, old letters stand together, nothing is dropped."""
    tokenizer = JamoTokenizer.learn(["\u1112\u119e\u11ab \u11c3ㄱq\u0307"])

    def parts(letters: str) -> list[str]:
        ids = tokenizer.vocabulary.encode(letters)
        return [letters[a:b] for a, b in tokenizer.spans(ids)]

    lead, vowel, final = "\u1112\u1161\u11ab"
    assert parts(lead) == [lead]
    assert parts(lead + lead + vowel) == [lead, lead + vowel]
    assert parts(vowel + final) == [vowel, final]
    assert parts(lead + vowel + vowel) == [lead + vowel, vowel]
    assert parts(lead + vowel + final + final) == [lead + vowel + final, final]
    assert parts(lead + " " + vowel) == [lead, " ", vowel]
    assert parts(lead + final) == [lead, final]
    assert parts("\u1112\u119e\u11ab") == ["\u1112\u119e\u11ab"], (
        "an old syllable, which Unicode does not compose"
    )
    assert parts(lead + vowel + "\u11c3") == [lead + vowel + "\u11c3"]
    assert parts("ㄱ" + vowel) == ["ㄱ", vowel], "a letter that stands alone begins no syllable"
    assert tokenizer.spans([]) == []
    with pytest.raises(DataError, match="no id 999"):
        tokenizer.spans([999])


@pytest.mark.extra("tokenizers")
def test_spans_of_bytes_that_are_none() -> None:
    """Bytes of one character stand together, also where it is cut; others alone."""
    byte = ByteTokenizer()
    assert byte.spans([0xED, 0x95, 0x9C, 0x61]) == [(0, 3), (3, 4)]
    assert byte.spans([0xED, 0x95, 0x61]) == [(0, 2), (2, 3)]
    assert byte.spans([0x80, 0x80]) == [(0, 1), (1, 2)]
    assert byte.spans([0xF0, 0x9F]) == [(0, 2)]
    bpe = BPETokenizer.learn([KOREAN * 20], 300)
    ids = bpe.encode(KOREAN)
    assert "".join(bpe.decode(ids[a:b]) for a, b in bpe.spans(ids)) == KOREAN


def test_letters_have_a_name_by_their_place() -> None:
    """The first, the last and the one that stands alone are three symbols with three names."""
    jamo = JamoTokenizer.learn(["난ㄴ"])
    ids = [int(i) for i in jamo.encode("난ㄴ")]
    assert [placed_label_of(jamo, i) for i in ids] == ["ㄴ-", "ㅏ", "-ㄴ", "ㄴ"]
    assert [label_of(jamo, i) for i in ids] == ["ㄴ", "ㅏ", "ㄴ", "ㄴ"]


@pytest.mark.parametrize("tokenizer", [JamoTokenizer.learn([KOREAN]), ByteTokenizer()])
def test_a_character_costs_what_its_letters_cost(tokenizer: Tokenizer) -> None:
    """log P of a syllable is the sum over its letters of what the model says of each given those before it."""
    with tgs.composed():
        model = CharLM(len(tokenizer), 6, rng=tgs.Generator(3)).double()
        how = DecodingConfig(temperature=1.0)
        sample = Sampler(model, tokenizer, how).sample("옛날 ", 25, rng=tgs.Generator(1), explain=2)
        begun = tokenizer.encode("옛날 ")
        score = model.score(np.concatenate([begun, sample.ids]))[len(begun) :]
    found = characters_of(sample, tokenizer)
    at = 0
    for one in found:
        assert one.log_prob == pytest.approx(float(score[at : at + len(one.ids)].sum()), abs=1e-9)
        assert one.log_probs == sample.log_probs[at : at + len(one.ids)]
        assert len(one.candidates) == len(one.ids)
        at += len(one.ids)
    assert at == len(sample.ids)
    assert math.fsum(one.log_prob for one in found) == pytest.approx(sample.log_prob, abs=1e-9)
    if tokenizer.kind == "jamo":
        assert "".join(one.text for one in found if one.written) == sample.text
        assert any(len(one.ids) == 3 for one in found)


def test_what_is_begun_and_what_comes_after_the_end() -> None:
    """A lead is named as it is printed, and is not written where the text ends before it."""
    jamo = JamoTokenizer.learn(["한 "])
    ids = tuple(int(i) for i in jamo.encode("하 한")[:-2])
    sample = Sample("", "하 ", ids, (-1.0, -2.0, -0.5, -3.0), 3, 7, "length")
    found = characters_of(sample, jamo)
    assert [(one.text, one.log_prob, one.written) for one in found] == [
        ("하", -3.0, True),
        (" ", -0.5, True),
        ("ㅎ", -3.0, False),
    ]
    assert characters_of(Sample("", "", (), (), 0, 0, "length"), jamo) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that reads letters, trained for a moment."""
    here = tmp_path_factory.mktemp("syllables")
    (here / "tale.txt").write_text(KOREAN * 60, encoding="utf-8")
    sizes = ["--tokenizer", "jamo", "--hidden", "8", "--batch", "4", "--window", "8", "--steps", "3"]
    with tgs.composed():
        assert (
            main(["train", str(here / "tale.txt"), *sizes, "--sample-every", "0", "-o", str(here / "run")])
            == 0
        )
    return here / "run"


def test_explain_shows_syllables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One numbered line for each, with the sum; its letters and their candidates below; none stands loose."""

    def call(*more: str) -> str:
        capsys.readouterr()
        with tgs.composed():
            assert (
                main(
                    [
                        "sample",
                        str(folder),
                        "--prime",
                        "옛날 ",
                        "-n",
                        "20",
                        "--seed",
                        "3",
                        "--explain",
                        "2",
                        *more,
                    ]
                )
                == 0
            )
        return capsys.readouterr().out

    row: Any = json.loads(call("--json"))
    jamo = load_run(folder).vocabulary
    written = [one["text"] for one in row["characters"] if one["written"]]
    assert "".join(written) == row["text"]
    assert sum(one["log_prob"] for one in row["characters"]) == pytest.approx(row["log_prob"])
    out = call()
    assert not re.search("[\u1100-\u11ff]", out.split("\n\n", 1)[1])
    lines = out.splitlines()
    heads = [found for line in lines if (found := re.match(r" *(\d+) +('[^']*'|\"'\") +(-?\d+\.\d+)", line))]
    assert [int(one[1]) for one in heads] == list(range(1, len(row["characters"]) + 1))
    for one, head in zip(row["characters"], heads, strict=True):
        assert head[2] == repr(one["text"])
        assert float(head[3]) == pytest.approx(one["log_prob"], abs=6e-4)
    letters = [line for line in lines if line.startswith("       ")]
    several = [one["tokens"] for one in row["characters"] if len(one["tokens"]) > 1]
    named = [re.findall(r"'([^']*)'", line)[0] for line in letters if "%/" in line]
    assert named[-len(several[-1]) :] == [placed_label_of(jamo, i) for i in several[-1]]
    assert sum("%/" in line for line in lines) == len(row["tokens"])
    assert (
        lines.count(next(line for line in lines if line.startswith("each character, log P of its letters")))
        == 1
    )
