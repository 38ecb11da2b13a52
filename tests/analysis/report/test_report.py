"""Laws of the report: its numbers are what differences say, its file is safe, and what it cannot show it says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_seq as tgs
from tinygrad_seq.analysis.probe import seeing
from tinygrad_seq.analysis.report import SECTIONS, Record, Report, page, tokens_of
from tinygrad_seq.analysis.report.captions import label_of, readable
from tinygrad_seq.analysis.report.record_json import array_of, plain
from tinygrad_seq.cli import main
from tinygrad_seq.data import ByteTokenizer, Corpus, JamoTokenizer, Vocabulary
from tinygrad_seq.engine import ops
from tinygrad_seq.errors import ArgumentError, CheckpointError, DataError, DTypeError
from tinygrad_seq.models import GPT, CharLM, LanguageModel
from tinygrad_seq.training import Config, train

WORDS = "a cab (bad) fed\na"
HARD = "</script><script>alert(1)</script>\u2028&amp;\u2029<!-- ]]> \x00\u200b" + '"x" 한글 ½\n'
LETTERS = Vocabulary("".join(sorted(set(WORDS))))


@pytest.fixture(autouse=True)
def composed() -> Any:
    """A few tiny steps of many kinds: not worth a kernel for each."""
    with tgs.composed():
        yield


def model(kind: str = "lstm", symbols: int = len(LETTERS), layers: int = 2) -> Any:
    """A small model in float64."""
    rng = tgs.Generator(1)
    if kind == "gpt":
        return GPT(symbols, block=20, layers=layers, heads=2, width=8, rng=rng).double()
    return CharLM(symbols, 5, layers, cell=kind, rng=rng).double()


def of(kind: str = "lstm", text: str = WORDS, **settings: Any) -> Report:
    """A report of a small model."""
    return Report.of(model(kind), LETTERS, text, **settings)


# ---- numbers -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "gpt"])
def test_saliency_is_what_central_differences_say(kind: str) -> None:
    """To 1e-6 of the largest, for every pair of characters, and what is behind in the file is the same number."""
    one = model(kind)
    record = Report.of(one, LETTERS, WORDS).record
    ids = LETTERS.encode(WORDS)
    weight = one.embedding(ids[None]).numpy()[0]
    found = Record.from_json(record.to_json()).saliency
    np.testing.assert_array_equal(found, record.saliency)

    def log_p(t: int, rows: np.ndarray) -> float:
        e = tgs.tensor(rows[None, :t] if kind == "gpt" else rows[:t, None])
        vars(one.embedding)["forward"] = lambda ids: e
        try:
            logits = one(ids[:t, None])[0].numpy()[-1, 0]
        finally:
            del vars(one.embedding)["forward"]
        return float(logits[ids[t]] - np.log(np.exp(logits).sum()))

    assert found is not None
    for t in (1, 8, len(ids) - 1):
        for s in range(len(ids)):
            slope = np.zeros(weight.shape[1])
            for k in range(len(slope) if s < t else 0):
                there, back = weight.copy(), weight.copy()
                there[s, k] += 1e-5
                back[s, k] -= 1e-5
                slope[k] = (log_p(t, there) - log_p(t, back)) / 2e-5
            assert found[t, s] == pytest.approx(np.linalg.norm(slope), rel=1e-5, abs=1e-9)
            assert s < t or found[t, s] == 0.0


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_nothing_behind_a_cut(kind: str) -> None:
    """Where the states are cut after step 6, no later prediction but the next depends on what is before."""
    one, after = model(kind), 6

    def see(layer: str, t: int, state: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(ops.cut(s) for s in state) if t == after else state

    with seeing(one, see):
        found = Report.of(one, LETTERS, WORDS, only=["saliency"]).record.saliency
    whole = of(kind, only=["saliency"]).record.saliency
    assert found is not None
    assert whole is not None
    behind = np.zeros_like(found, bool)
    behind[after + 2 :, : after + 1] = True
    assert np.all(found[behind] == 0.0)
    np.testing.assert_allclose(found[~behind & (whole > 0)], whole[~behind & (whole > 0)], rtol=1e-9)
    assert np.all(whole[behind] > 0.0)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "gpt"])
def test_json_both_ways(kind: str) -> None:
    """Every array comes back bit for bit, and so does what is not finite."""
    record = of(kind).record
    name = next(iter(record.parts))
    odd = record.parts[name].copy()
    odd[:3, 0] = [np.nan, np.inf, -np.inf]
    record = dataclasses.replace(record, parts={**record.parts, name: odd})
    text = record.to_json()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(text, parse_constant=refuse)
    again = Record.from_json(text)
    assert again.to_json() == text
    np.testing.assert_array_equal(again.parts[name], odd)
    for field in dataclasses.fields(Record):
        mine, theirs = getattr(record, field.name), getattr(again, field.name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs)
    for a, b in zip(record.attention, again.attention, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
    for g, h in zip(record.gates, again.gates, strict=True):
        np.testing.assert_array_equal(g.mean, h.mean)
        assert (g.lifetime is None) == (h.lifetime is None)


def test_the_record_holds_what_the_model_computes() -> None:
    """Chances, guesses, and which sections there are."""
    one = model()
    record = Report.of(one, LETTERS, WORDS).record
    ids = LETTERS.encode(WORDS)
    np.testing.assert_allclose(record.log_p, one.score(ids), rtol=1e-12)
    for s, guesses in enumerate(record.likeliest):
        probabilities = one.conditional(ids[:s])
        assert [p for _, p in guesses] == pytest.approx(sorted(probabilities, reverse=True)[:5])
    assert record.shown == ("saliency", "units", "gates", "health")
    assert record.left_out == {
        "attention": "This model is recurrent: what it keeps is a state, and it attends to nothing."
    }
    assert record.gates[1].name == "f_l0"
    np.testing.assert_allclose(record.gates[1].lifetime, 1 / (1 - record.parts["f_l0"].mean(0)))
    assert record.found == []
    assert set(record.cannot_tell.values()) == {"the text has 17 tokens, 100 are needed"}
    assert of("rnn").record.left_out["gates"] == "A plain RNN has no gates."
    attended = of("gpt").record
    assert attended.shown == ("saliency", "units", "attention", "health")
    assert attended.left_out == {"gates": "A Transformer has no gates."}
    only = of(only=["gates", "saliency"]).record
    assert only.shown == ("saliency", "gates")
    assert (only.left_out, only.found, only.health) == ({}, [], [])
    assert set(only.parts) == {f"{g}_l{k}" for g in "ifo" for k in (0, 1)}


@pytest.mark.parametrize(("value", "shown"), [(0.123456, 0.123), (1e-9, 1e-9), (2.0, 2), (np.inf, "inf")])
def test_numbers_as_json_has_them(value: float, shown: Any) -> None:
    """Short, and words for what is not finite."""
    assert plain(np.array([value]), 3) == [shown]
    assert array_of(plain(np.array([value])))[0] == value


# ---- tokens ------------------------------------------------------------------------------------------------
@settings(max_examples=60)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=12))
def test_tokens_cover_the_text(text: str) -> None:
    """In order, without a gap, each with a name that can be seen; parts share the character they are parts of."""
    for tokenizer in (ByteTokenizer(), JamoTokenizer.learn([text]), Vocabulary("".join(sorted(set(text))))):
        found, tokens = tokens_of(tokenizer, tokenizer.encode(text))
        assert found == tokenizer.decode(tokenizer.encode(text))
        end = 0
        for token in tokens:
            assert end - 1 <= token.first <= end
            assert token.first < token.last
            assert token.label.strip()
            assert token.label.isprintable()
            end = token.last
        assert end == len(found)


def test_labels_of_parts() -> None:
    """Bytes in hexadecimal, Korean letters as they are printed, what cannot be seen by its number."""
    _, tokens = tokens_of(ByteTokenizer(), ByteTokenizer().encode("a\u2013\n"))
    assert [(t.label, t.kind) for t in tokens] == [
        ("a", ""),
        ("0xE2", "part"),
        ("0x80", "part"),
        ("0x93", "part"),
        ("⏎", "break"),
    ]
    jamo = JamoTokenizer.learn(["값"])
    assert [label_of(jamo, int(i)) for i in jamo.encode("값")] == ["ㄱ", "ㅏ", "ㅄ"]
    assert readable("a\t\u202e\u0301") == "a⇥U+202EU+0301"


# ---- the page ----------------------------------------------------------------------------------------------
class Parsed(HTMLParser):
    """The elements of a page with their attributes, and what stands in scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]][-1] += data


@pytest.mark.parametrize("kind", ["byte", "gpt"])
def test_the_page_is_whole_and_asks_nobody(kind: str) -> None:
    """Two scripts, ours and the data; a policy that names them by hash; no address; the text cannot break out."""
    symbols = 256 if kind == "byte" else len(LETTERS)
    text = HARD if kind == "byte" else WORDS
    one = model("gru" if kind == "byte" else "gpt", symbols)
    title = '</title><img src=x onerror=alert(1)>"\udc80'
    report = Report.of(one, ByteTokenizer() if kind == "byte" else LETTERS, text, title=title)
    html = report.html()
    html.encode("utf-8")
    parsed = Parsed(html)
    assert parsed.open == []
    assert [tag for tag, _ in parsed.elements].count("script") == 2
    assert [tag for tag, _ in parsed.elements if tag in ("img", "link", "iframe", "object", "form")] == []
    assert not [
        a for _, attributes in parsed.elements for a in attributes if a.startswith(("on", "src", "style"))
    ]
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")
    data, script = parsed.inside["script"]
    (style,) = parsed.inside["style"]
    policy = next(str(a["content"]) for _, a in parsed.elements if a.get("http-equiv"))
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    for name, source in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert directives[name] == f"'sha256-{digest}'"
    assert directives["default-src"] == "'none'"
    assert not re.search(r"\beval\b|new Function|innerHTML|document\.write|\bfetch\b", script)
    assert data.isascii()
    assert not set("<>&") & set(data)
    embedded = json.loads(data)
    assert embedded["text"] == report.record.text
    assert embedded["title"] == title
    assert parsed.inside["title"][0].startswith('</title><img src=x onerror=alert(1)>"?')


def test_the_page_holds_the_records_numbers_in_short() -> None:
    """Four digits that count, three of units; a unit is a row."""
    record = of().record
    embedded = json.loads(Parsed(page.page_of(record)).inside["script"][0])
    assert record.saliency is not None
    for t, row in enumerate(embedded["saliency"]):
        np.testing.assert_allclose(row, record.saliency[t, :t], rtol=5e-4)
    np.testing.assert_allclose(np.array(embedded["parts"]["h_l1"]).T, record.parts["h_l1"], rtol=5e-3)
    assert embedded["units"]["h_l1"] == [0, 1, 2, 3, 4]


def test_the_page_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer units, those that were found among them; fewer steps of attention; all in the file of numbers."""
    record = of(text=WORDS * 9).record
    assert {d.detector for d in record.found} == {"bracket depth", "column", "whitespace"}
    monkeypatch.setattr(page, "NUMBERS", 12 * 2 * len(WORDS) * 9)
    embedded = json.loads(Parsed(page.page_of(record)).inside["script"][0])
    found = {(d.part, d.unit) for d in record.found}
    assert all(unit in embedded["units"][part] for part, unit in found)
    assert all(len(units) == 2 for units in embedded["units"].values())
    assert embedded["notes"] == [
        "Of 60 units, 24 are on this page: those that the finder names and those that vary most. "
        "A .json file holds them all."
    ]
    attended = of("gpt").record
    monkeypatch.setattr(page, "NUMBERS", 4 * 6 * 6 // 2)
    embedded = json.loads(Parsed(page.page_of(attended)).inside["script"][0])
    assert len(embedded["attention"][0]["weights"][0]) == 6
    assert embedded["notes"][-1].startswith("Attention is shown for the first 6 tokens; entropy and distance")


# ---- long and short texts ----------------------------------------------------------------------------------
def test_a_long_text_is_cut_kindly() -> None:
    """At the bound, at a GPT's window, and never through a character."""
    record = of(text=WORDS * 9, longest=30).record
    assert record.text == (WORDS * 9)[:30]
    assert record.notes == [
        "The text is longer than what is shown: the first 30 tokens of 153 characters; a page of more would be slow.",
        "Too short to tell which units follow something: the text has 30 tokens, 100 are needed.",
    ]
    record = of("gpt", text=WORDS * 9).record
    assert len(record.tokens) == 153
    assert record.notes == [
        "The model sees 20 tokens at once. The text is read in 15 windows, as the model reads a long text itself: "
        "each but the first begins with the last 10 tokens of the one before, and sees nothing before them."
    ]
    korean = Report.of(model("rnn", 256), ByteTokenizer(), "한글과 글", longest=8).record
    assert (korean.text, len(korean.tokens)) == ("한글", 6)
    assert of(text=WORDS, longest=len(WORDS), only=["saliency"]).record.notes == []


def test_a_gpt_reads_a_long_text_in_windows() -> None:
    """The unit finder has enough of it; probabilities are the model's; weights kept by window."""
    one = model("gpt")
    record = Report.of(one, LETTERS, WORDS * 9).record
    ids = LETTERS.encode(WORDS * 9)
    assert {d.detector for d in record.found} == {"bracket depth", "column", "whitespace"}
    assert {a.shape for a in record.parts.values()} == {(153, 8)}
    np.testing.assert_allclose(record.log_p, one.score(ids), rtol=1e-9)
    assert record.starts == [0] * 20 + [t - t % 10 - 10 for t in range(20, 153)]
    (first, second) = record.attention
    assert first.weights.shape == second.weights.shape == (2, 153, 20)
    again = Record.from_json(record.to_json())
    assert (again.starts, again.spans) == (record.starts, record.spans)
    np.testing.assert_array_equal(again.attention[1].weights, second.weights)
    embedded = json.loads(Parsed(page.page_of(record)).inside["script"][0])
    for t, row in enumerate(embedded["attention"][1]["weights"][1]):
        assert len(row) == t + 1 - record.starts[t]
        np.testing.assert_allclose(row, second.weights[1, t, : len(row)], rtol=5e-4)
        assert sum(row) == pytest.approx(1, abs=2e-3)


def test_a_record_of_the_first_version_is_read() -> None:
    """It knew one window, and no characters of several tokens."""
    record = of("gpt").record
    old = json.loads(record.to_json())
    assert old["version"] == 2
    for name in ("starts", "spans", "by_character"):
        del old[name]
    again = Record.from_json(json.dumps({**old, "version": 1}))
    assert again.spans == record.spans == [(t, t + 1) for t in range(len(WORDS))]
    np.testing.assert_array_equal(again.attention[0].weights, record.attention[0].weights)
    assert len(json.loads(Parsed(Report(again).html()).inside["script"][0])["starts"]) == len(WORDS)
    with pytest.raises(DataError, match="version 1 or 2 of the format"):
        Record.from_json(json.dumps({**old, "version": 3}))


def test_every_part_of_the_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saliency, units and attention hold no more numbers than each may; notes say what is left out."""
    monkeypatch.setattr(page, "NUMBERS", 800)
    monkeypatch.setattr(page, "CHARACTERS", 40)
    for one in ("gpt", "lstm"):
        report = of(one, text=WORDS * 6)
        embedded = json.loads(Parsed(report.html()).inside["script"][0])
        assert len(embedded["saliency"]) == 40 < len(report.record.tokens)
        assert sum(map(len, embedded["saliency"])) <= 800
        rows = [row for layer in embedded["attention"] for head in layer["weights"] for row in head]
        assert sum(map(len, rows)) <= 800 + len(rows)
        said = (
            "What each character depended on is shown for the first 40 of 102 characters. "
            "A .json file holds it all."
        )
        assert said in embedded["notes"]
        assert len(report.record.attention) == (2 if one == "gpt" else 0)


def test_letters_are_shown_by_syllable() -> None:
    """Composed, with the log P of the letters added up; letters that nothing completes as they are printed."""
    text = "한글 값 ㅋㅋ\ncafé"
    jamo = JamoTokenizer.learn([text])
    one = model("lstm", len(jamo))
    record = Report.of(one, jamo, text).record
    embedded = json.loads(Parsed(page.page_of(record)).inside["script"][0])
    labels = [label for label, _, _ in embedded["characters"]]
    assert labels == ["한", "글", "␣", "값", "␣", "ㅋ", "ㅋ", "⏎", "c", "a", "f", "é"]
    assert [kind for _, kind, _ in embedded["characters"]][2:8] == ["space", "", "space", "", "", "break"]
    score = one.score(jamo.encode(text))
    for (a, b), (_, _, log_p) in zip(record.spans, embedded["characters"], strict=True):
        assert log_p == pytest.approx(score[a:b].sum(), rel=1e-3)
    assert sum(log_p for _, _, log_p in embedded["characters"]) == pytest.approx(record.log_p.sum(), rel=1e-3)
    assert record.saliency is not None
    assert record.by_character is not None
    assert record.saliency.shape == (len(record.tokens),) * 2
    assert record.by_character.shape == (12, 12)
    # Of characters of one token each it is what it was.
    assert record.by_character[6, 5] == pytest.approx(record.saliency[record.spans[6][0], record.spans[5][0]])
    assert [len(row) for row in embedded["saliency"]] == list(range(12))
    again = Record.from_json(record.to_json())
    np.testing.assert_array_equal(again.by_character, record.by_character)
    guesses = {label for row in record.likeliest for label, _ in row}
    assert not re.search("[\u1100-\u11ff]", "".join(guesses))
    lead = jamo.vocabulary.encode("\u1112")
    assert [t.label for t in tokens_of(jamo, lead)[1]] == ["ㅎ"]
    plain_page = json.loads(Parsed(of().html()).inside["script"][0])
    assert [label for label, _, _ in plain_page["characters"]] == [t[0] for t in plain_page["tokens"]]
    assert of().record.by_character is None


def test_the_shortest_text() -> None:
    """Two characters and one unit: all sections stand, and what cannot be told from chance is said."""
    one = CharLM(2, 1, rng=tgs.Generator(1))
    report = Report.of(one, Vocabulary("ab"), "ab")
    assert report.record.notes == [
        "Too short to tell which units follow something: the text has 2 tokens, 100 are needed."
    ]
    assert report.record.shown == ("saliency", "units", "gates", "health")
    Parsed(report.html())


def test_what_cannot_be_told_is_said_and_not_claimed() -> None:
    """In the record, in JSON both ways, and in the data of the page: no score of a text that is too short."""
    short = of("gru", text=WORDS * 5).record
    assert len(short.tokens) == 85
    why = "the text has 85 tokens, 100 are needed"
    assert (short.found, set(short.cannot_tell.values())) == ([], {why})
    assert short.notes == [f"Too short to tell which units follow something: {why}."]
    text = "ab (cd) e\n" * 9 + "ab cde fabcda fade " * 3
    record = of("gru", text=text).record
    assert {d.detector for d in record.found} == {"bracket depth", "column", "whitespace"}
    assert record.cannot_tell == {
        "inside quotes": "it does not occur",
        "upper case": "it does not occur",
        "digit": "it does not occur",
    }
    assert record.notes == []
    again = Record.from_json(record.to_json())
    assert (again.cannot_tell, again.found) == (record.cannot_tell, record.found)
    embedded = json.loads(Parsed(page.page_of(record)).inside["script"][0])
    assert embedded["cannot_tell"] == record.cannot_tell
    old = json.loads(record.to_json())
    del old["cannot_tell"]
    assert Record.from_json(json.dumps(old)).cannot_tell == {}
    assert of(only=["gates"], text=text).record.cannot_tell == {}


# ---- mistakes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda: of(only=["saliences"]),
            ArgumentError,
            "report: there is no section 'saliences'.\n"
            "  expected some of saliency, units, gates, attention, health.",
        ),
        (lambda: of(only=[]), ArgumentError, "report: no section is asked for.\n  expected some of "),
        (
            lambda: of(text="a"),
            DataError,
            "report: the text is too short.\n  text: 'a'\n  expected at least 2 tokens, got 1.",
        ),
        (lambda: of(text="a z"), DataError, "'z'"),
        (lambda: of(text=b"abc"), DTypeError, "report: this is not text.\n  text: b'abc'\n  expected a str."),
        (
            lambda: of(longest=1),
            ArgumentError,
            "report: longest out of range.\n  expected a whole number of at least 2, got 1.",
        ),
        (
            lambda: Report.of(LanguageModel(CharLM(9, 4), 9), LETTERS, WORDS),
            ArgumentError,
            "report: LanguageModel cannot be looked into.\n"
            "  expected a CharLM, or a LatentAR of an RNN, GRU or LSTM, or a GPT.",
        ),
        (
            lambda: of().save("report.pdf"),
            ArgumentError,
            "report: no such kind of file.\n  path: 'report.pdf'\n"
            "  expected a name that ends in .html for the page or .json for the numbers.",
        ),
        (lambda: of().save("/nowhere/at/all.html"), CheckpointError, "its folder does not exist"),
        (
            lambda: Record.from_json("[]"),
            DataError,
            "report: this is no record of a report.\n  expected what ",
        ),
        (lambda: Record.from_json("{"), DataError, "report: this is no record of a report."),
        (lambda: array_of([[1.0], [1.0, 2.0]]), DataError, "expected rows of numbers, all of one length."),
        (lambda: array_of(["Nan"]), DataError, "expected rows of numbers, all of one length."),
    ],
)
def test_mistakes_are_explained(call: Any, error: type[Exception], told: str) -> None:
    """One clear error for each."""
    with pytest.raises(error, match=re.escape(told)):
        call()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there stays where writing fails."""
    target = tmp_path / "report.html"
    report = of(only=["health"])
    assert report.save(target) == target
    before = target.read_bytes()
    assert before.decode().startswith("<!doctype html>")
    monkeypatch.setattr(
        "os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(CheckpointError, match="No space left"):
        of().save(target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_in_a_notebook_it_is_in_a_frame() -> None:
    """The frame holds the page and can do nothing but run its script."""
    report = of(only=["health"])
    parsed = Parsed(report._repr_html_())
    ((tag, attributes),) = parsed.elements
    assert (tag, attributes["sandbox"], attributes["srcdoc"]) == ("iframe", "allow-scripts", report.html())
    assert tgs.analysis.report.Report is Report


# ---- tgs inspect -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    config = Config(corpus=("book.txt",), hidden=4, batch=2, window=4, steps=2, sample_every=0)
    with tgs.composed():
        list(train(config, corpus=Corpus(WORDS * 40, "book.txt"), folder=folder))
    return folder


def test_inspect_writes_a_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into the run's folder, or where it is told to; the model writes the same text when asked again."""
    assert main(["inspect", str(run)]) == 0
    first = (run / "report.html").read_bytes()
    assert capsys.readouterr().out.splitlines()[-1] == f"saved   {run / 'report.html'}"
    assert main(["inspect", str(run)]) == 0
    assert (run / "report.html").read_bytes() == first
    numbers = tmp_path / "r.json"
    capsys.readouterr()
    arguments = ["--text", WORDS, "--only", "units, saliency", "-o", str(numbers)]
    assert main(["inspect", str(run), *arguments]) == 0
    assert capsys.readouterr().out == (
        "note    Too short to tell which units follow something: the text has 17 tokens, 100 are needed.\n"
        f"saved   {numbers}\n"
    )
    record = Record.from_json(numbers.read_text(encoding="utf-8"))
    assert (record.text, record.shown, record.title) == (WORDS, ("saliency", "units"), "small")
    (tmp_path / "letter.txt").write_text(WORDS * 60, encoding="utf-8")
    assert main(["inspect", str(run), "--file", str(tmp_path / "letter.txt"), "-o", str(numbers)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "note    The text is longer than what is shown: the first 400 tokens of 1,020 characters;"
    )
    assert "without attention" not in out
    assert len(Record.from_json(numbers.read_text(encoding="utf-8")).tokens) == 400
    assert main(["inspect", str(run), "--text", WORDS, "--steps", "5", "-o", str(numbers)]) == 0
    assert Record.from_json(numbers.read_text(encoding="utf-8")).text == WORDS[:5]
    unknown = f"😀{WORDS}\u0007</script>"
    arguments = ["--text", unknown, "--on-unknown", "skip", "-o", str(numbers)]
    assert main(["inspect", str(run), *arguments]) == 0
    assert Record.from_json(numbers.read_text(encoding="utf-8")).text.startswith(WORDS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--only", "salience"],
            "tgs inspect: there is no section 'salience'.\n"
            f"  expected some of {', '.join(SECTIONS)}.\n  Did you mean 'saliency'?",
        ),
        (["--only", ","], "tgs inspect: --only names nothing."),
        (
            ["--text", "a", "--file", "b"],
            "tgs inspect: --text and --file are both given.\n  expected one of them.",
        ),
        (["--only", "units", "--gradients"], "tgs inspect: --only chooses no charts."),
        (["--steps", "1"], "tgs inspect: --steps is too small.\n  expected at least 2, got 1."),
        (["--steps", "2001"], "tgs inspect: --steps is too large.\n  expected at most 2,000, got 2,001:"),
        (["--text", "a"], "report: the text is too short."),
        (["--text", ""], "report: the text is too short."),
        (["--text", "a 안"], "안"),
        (["--file", "missing.txt"], "missing.txt"),
        (["-o", "report.txt"], "report: no such kind of file."),
    ],
)
def test_inspect_refuses(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """A mistake is one message and exit code 2."""
    assert main(["inspect", str(run), *arguments]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


def own(tmp_path: Path, text: str, **settings: Any) -> Path:
    """A run of a text in a file that is still there."""
    file = tmp_path / "book.txt"
    file.write_text(text, encoding="utf-8")
    config = Config(
        corpus=(str(file),),
        hidden=4,
        batch=2,
        window=4,
        steps=2,
        sample_every=0,
        **{"split": "50,50,0", **settings},
    )
    list(train(config, folder=tmp_path / "own"))
    return tmp_path / "own"


def test_inspect_reads_the_runs_own_validation_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a whole line on, the same passage each time, and where it is from stands in page, record and output."""
    text = "".join(f"line {k} of a book\n" for k in range(100))
    folder = own(tmp_path, text)
    numbers = tmp_path / "r.json"
    for steps in (50, 50, 3):
        assert main(["inspect", str(folder), "--steps", str(steps), "-o", str(numbers)]) == 0
        record = Record.from_json(numbers.read_text(encoding="utf-8"))
        assert record.text == "line 51 of a book\nline 52 of a book\nline 53 of a book\n"[:steps]
        validation = text[len(text) // 2 :]
        first = validation.index(record.text) + 1
        source = f"from the validation part of the run's own text, characters {first} to {first + steps - 1}"
        assert record.facts["Text"] == f"{steps} tokens, {source}"
        assert f"read    {steps} tokens, {source}\n" in capsys.readouterr().out


def test_inspect_says_so_where_it_reads_what_the_model_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the text is gone, or another by now, and then it says which."""
    folder = own(tmp_path, WORDS * 40, split="80,20,0 columns")
    numbers = tmp_path / "r.json"
    assert main(["inspect", str(folder), "--steps", "9", "-o", str(numbers)]) == 0
    out = capsys.readouterr().out
    assert "read    9 tokens, from the validation part of the run's own text, characters" in out
    (tmp_path / "book.txt").write_text(WORDS * 39 + "b", encoding="utf-8")
    for why in ("is not what it was", "its text cannot be had again"):
        assert main(["inspect", str(folder), "--steps", "9", "-o", str(numbers)]) == 0
        said = Record.from_json(numbers.read_text(encoding="utf-8")).facts["Text"]
        assert said.startswith("9 tokens, written by the model itself, for ")
        assert said.endswith(why)
        assert said in capsys.readouterr().out
        (tmp_path / "book.txt").unlink(missing_ok=True)


@pytest.mark.parametrize("tokenizer", ["byte", "jamo"])
def test_a_passage_goes_through_no_character(tmp_path: Path, tokenizer: str) -> None:
    """It begins with a word, and its end is that of a character, also of a Transformer that sees less at once."""
    one = {"model": "transformer", "heads": 2, "layers": 1, "hidden": 8, "window": 14}
    config = {"tokenizer": tokenizer, **(one if tokenizer == "jamo" else {})}
    file = tmp_path / "book.txt"
    text = "옛날 옛적에 한글 " * 60
    file.write_text(text, encoding="utf-8")
    settings = {"hidden": 4, "batch": 2, "window": 4, "steps": 2, "sample_every": 0, "split": "50,50,0"}
    list(train(Config(corpus=(str(file),), **{**settings, **config}), folder=tmp_path / "own"))
    numbers = tmp_path / "r.json"
    for steps in ("9", "10", "11", "30"):
        assert main(["inspect", str(tmp_path / "own"), "--steps", steps, "-o", str(numbers)]) == 0
        record = Record.from_json(numbers.read_text(encoding="utf-8"))
        assert record.text.strip()[0] in "옛한"
        assert "\ufffd" not in record.text
        assert record.text in text, "no syllable has lost its last letter"
        most = int(steps)
        assert most - 3 <= len(record.tokens) <= most


def test_a_model_of_no_numbers_is_explained() -> None:
    """Weights that are NaN give one error, not a page of NaN."""
    one = model()
    one.head.weight.array[...] = math.nan
    with pytest.raises(tgs.NonFiniteError, match="logits are not finite"):
        Report.of(one, LETTERS, WORDS)
