"""The report as a browser shows it: nothing is asked for, keys lead everywhere, what is shown is what the data holds.

Skipped where there is no Chromium, unless TINYGRAD_SEQ_BROWSER=required.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as tgs
from tests.browser.chromium import Browser, found
from tinygrad_seq.analysis.report import Report
from tinygrad_seq.data import ByteTokenizer, JamoTokenizer
from tinygrad_seq.models import GPT, CharLM

TEXT = 'He said "no" (twice),\n</script><script>alert(1)</script> & left at 10. "Why?"\nAsk ½ of them.\n"So (it) is."'
OPENING = 120  # the token that is chosen first
KOREAN = '옛날 옛적에 "떡 하나" (정말로)\n42번 & <b>끝</b>.'
LEFT, UP, RIGHT, DOWN, TAB, END, HOME = 37, 38, 39, 40, 9, 35, 36
SALIENCY = "document.querySelector('#saliency .strip')"

CONTRASTS = """
(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const under = (one) => {
    for (let e = one; e; e = e.parentElement) {
      const c = numbers(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.getClientRects().length || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(one.tagName)) continue;
    const style = getComputedStyle(one);
    const ink = one instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(numbers(ink)), light(under(one))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.tagName, one.textContent.slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
})()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    program = found()
    if program is None or os.name == "nt":
        if os.environ.get("TINYGRAD_SEQ_BROWSER") == "required":
            pytest.fail("Chromium is required here and was not found: apt-get install chromium")
        pytest.skip("there is no Chromium on PATH")
    one = Browser(program)
    yield one
    one.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of an LSTM of two layers that reads bytes, and one of a GPT that reads Korean letters."""
    folder = tmp_path_factory.mktemp("report")
    with tgs.composed():
        lstm = CharLM(256, 12, 2, rng=tgs.Generator(1))
        recurrent = Report.of(lstm, ByteTokenizer(), TEXT, title="</title><script>alert(2)</script>")
        tokenizer = JamoTokenizer.learn([KOREAN])
        gpt = GPT(len(tokenizer), block=32, layers=2, heads=2, width=8, rng=tgs.Generator(1))
        attending = Report.of(gpt, tokenizer, KOREAN)
    return {
        "lstm": recurrent.save(folder / "lstm.html"),
        "gpt": attending.save(folder / "gpt.html"),
    }


def data(page: Path) -> Any:
    """What is embedded in a page."""
    return json.loads(re.findall(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"))[0])


def clean(browser: Browser, page: Path) -> None:
    """Nothing was asked for but the file, and nobody complained."""
    assert set(browser.asked_for()) <= {page.resolve().as_uri()} | {f"{page.resolve().as_uri()}#gates"}
    assert browser.complaints() == []


def place(browser: Browser, i: int) -> tuple[float, float]:
    """Where token i of the first text stands in the window."""
    box = f"{SALIENCY}.querySelectorAll('[role=option]')[{i}]"
    browser.js(f"{box}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y, w, h = browser.js(
        f"(() => {{const b = {box}.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]}})()"
    )
    return x + w / 2, y + h / 2


def told(browser: Browser, section: str, n: int = 0) -> str:
    """The line that tells the numbers in a section."""
    return str(browser.js(f"document.querySelectorAll('#{section} .told')[{n}].textContent"))


def table(browser: Browser, section: str, caption: str) -> list[list[str]]:
    """The cells of a table."""
    code = f"""[...document.querySelectorAll('#{section} table')]
        .find((t) => t.caption.textContent === {caption!r}).tBodies[0].rows"""
    return list(browser.js(f"[...{code}].map((row) => [...row.cells].map((c) => c.textContent))"))


@pytest.mark.parametrize("name", ["lstm", "gpt"])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_asked_for_and_nothing_complained_of(
    browser: Browser, pages: dict[str, Path], name: str, dark: bool
) -> None:
    """One request, the file itself; an empty console; the text is shown as text; no word of NaN."""
    browser.open(pages[name], dark=dark)
    clean(browser, pages[name])
    embedded = data(pages[name])
    shown = browser.js(f"[...{SALIENCY}.querySelectorAll('[role=option]')].map((one) => one.textContent)")
    assert shown == [" " if kind == "space" else label for label, kind, _ in embedded["characters"]]
    if name == "gpt":
        assert "".join(shown).replace("⏎", "\n") == KOREAN, "syllables, no letters"
    assert browser.js("document.querySelectorAll('section').length") == len(embedded["shown"]) + 1
    words = browser.js("document.body.innerText")
    assert not re.search(r"\b(NaN|undefined|Infinity|null|\[object)", words)
    assert browser.js("document.querySelectorAll('svg, canvas').length") > 0
    assert browser.js("[...document.querySelectorAll('svg *')].every((e) => !e.outerHTML.includes('NaN'))")


def test_the_policy_stops_what_is_not_ours(browser: Browser, pages: dict[str, Path]) -> None:
    """A script, a style attribute and a picture that get into the page do nothing, whatever they hold."""
    browser.open(pages["lstm"])
    browser.js("""(() => {
        window.refused = [];
        document.addEventListener('securitypolicyviolation', (e) => window.refused.push(e.effectiveDirective));
        const script = document.createElement('script');
        script.textContent = 'window.broken = 1';
        document.body.append(script);
        const image = document.createElement('img');
        image.src = 'https://example.invalid/x.png';
        document.body.append(image);
        const text = '<i id="x" style="color: rgb(1, 2, 3)" onclick="window.broken = 2">x</i>';
        document.body.insertAdjacentHTML('beforeend', text);
        document.getElementById('x').click();
    })()""")
    assert browser.js("typeof window.broken") == "undefined"
    assert browser.js("getComputedStyle(document.getElementById('x')).color") != "rgb(1, 2, 3)"
    assert browser.js("fetch('https://example.invalid/').then(() => 1, () => 0)") == 0
    browser.js("new Promise((done) => setTimeout(done, 50))")  # violations are told a little later
    assert set(browser.js("window.refused")) >= {
        "script-src-elem",
        "script-src-attr",
        "style-src-attr",
        "img-src",
        "connect-src",
    }


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_pointing_at_a_character_shows_the_numbers_of_the_data(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    """The line and the table hold, digit for digit, what JSON holds; leaving goes back to what was chosen."""
    browser.open(pages[name])
    embedded = data(pages[name])
    rest = told(browser, "saliency")
    for i in (1, 7, len(embedded["characters"]) // 2):
        browser.mouse(*place(browser, i))
        row, label = embedded["saliency"][i], embedded["characters"][i][0]
        first, last = embedded["spans"][i]
        best = int(np.argmax(row))
        line = told(browser, "saliency")
        assert line.startswith(f"“{label}” ({i + 1}): P = ")
        assert float(re.findall(r"log P = (\S+) nats", line)[0]) == embedded["characters"][i][2]
        assert embedded["characters"][i][2] == pytest.approx(sum(embedded["log_p"][first:last]), rel=1e-3)
        if last - first > 1:
            parts = [f"{embedded['tokens'][t][0]} {number(embedded['log_p'][t])}" for t in range(first, last)]
            assert f"nats ({', '.join(parts)})" in line
        assert line.endswith(f"({best + 1}), {i - best} before: {number(row[best])}.")
        shown = table(browser, "saliency", "Largest first")
        order = sorted(range(i), key=lambda j: -row[j])[:8]
        assert [float(cells[2]) for cells in shown] == [row[j] for j in order if row[j] > 0]
        assert [int(cells[1]) for cells in shown] == [i - j for j in order if row[j] > 0]
        guesses = table(browser, "saliency", "What the model expected there")
        most = 3 if last - first > 1 else 5
        wanted = [p for t in range(first, last) for _, p in embedded["likeliest"][t][:most]]
        assert [float(one[-1]) for one in guesses] == wanted
        chosen = browser.js(f"{SALIENCY}.querySelector('.chosen').dataset.i")
        assert int(chosen) == i
    browser.mouse(2, 2)
    assert told(browser, "saliency") == rest
    clean(browser, pages[name])


def number(value: float) -> str:
    """A number as JavaScript prints it."""
    if value and (abs(value) < 1e-6 or abs(value) >= 1e21):
        mantissa, power = f"{value!r}".split("e")
        return f"{mantissa}e{int(power):+d}"
    text = f"{value:.12f}".rstrip("0").rstrip(".")
    return text or "0"


def test_arrow_keys_walk_through_the_text(browser: Browser, pages: dict[str, Path]) -> None:
    """Left, right, Home, End, and up and down to the next line; what is chosen has the focus and the one tab stop."""
    browser.open(pages["lstm"])
    embedded = data(pages["lstm"])
    T = len(embedded["characters"])
    assert len(embedded["tokens"]) > T, "½ is one character of two bytes"
    browser.mouse(*place(browser, 5), click=True)

    def chosen() -> int:
        focus = browser.js("document.activeElement.dataset.i")
        stops = browser.js(
            f"[...{SALIENCY}.querySelectorAll('[tabindex=\"0\"]')].map((one) => one.dataset.i)"
        )
        selected = browser.js(f"{SALIENCY}.querySelector('[aria-selected=true]').dataset.i")
        assert stops == [focus] == [selected]
        assert f"({int(focus) + 1}): P = " in told(browser, "saliency")
        return int(focus)

    assert chosen() == 5
    browser.key("ArrowRight", RIGHT)
    assert chosen() == 6
    browser.key("ArrowLeft", LEFT)
    browser.key("ArrowLeft", LEFT)
    assert chosen() == 4
    browser.key("ArrowDown", DOWN)
    below = chosen()
    assert below > embedded["text"].index("\n"), "it is in the next line"
    browser.key("ArrowUp", UP)
    assert abs(chosen() - 4) <= 1
    browser.key("End", END)
    assert chosen() == T - 1
    browser.key("ArrowRight", RIGHT)
    assert chosen() == T - 1
    browser.key("Home", HOME)
    assert chosen() == 0
    assert "Nothing was read before it." in told(browser, "saliency")
    outline = browser.js("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus can be seen"


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_tab_reaches_each_control_in_order(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """Every button, link, choice, text, map and dot chart, from top to bottom, and back."""
    browser.open(pages[name])
    wanted = browser.js("""(() => {
        const all = [...document.querySelectorAll('a, button, select, summary, [tabindex="0"]')]
            .filter((one) => one.getClientRects().length && one.getAttribute('tabindex') !== '-1');
        all.forEach((one, k) => (one.dataset.stop = k));
        return all.length;
    })()""")
    browser.js("document.activeElement.blur()")
    reached = []
    for _ in range(wanted + 30):
        browser.key("Tab", TAB)
        stop = browser.js("document.activeElement.dataset.stop ?? document.activeElement.tagName")
        if stop == "BODY" or (reached and stop == reached[0]):
            break
        if stop.isdigit():  # boxes that scroll are stops of Chromium's own
            reached.append(stop)
    assert reached == [str(k) for k in range(wanted)]


def test_units_gates_and_their_numbers(browser: Browser, pages: dict[str, Path]) -> None:
    """A button of the finder shows its unit; the map of a gate and the dots tell what the data holds."""
    browser.open(pages["lstm"])
    embedded = data(pages["lstm"])
    last = min(OPENING, len(embedded["tokens"]) - 1)
    assert [one["detector"] for one in embedded["found"]] == ["inside quotes", "bracket depth", "whitespace"]
    words = browser.js("document.getElementById('units').innerText")
    assert "Too short to tell: column (a line ends at 3 of " in words
    assert "upper case (it holds at 4 of " in words
    for k, one in enumerate(embedded["found"]):
        browser.js(f"document.querySelectorAll('#units td button')[{k}].click()")
        value = embedded["parts"][one["part"]][embedded["units"][one["part"]].index(one["unit"])][last]
        assert told(browser, "units").endswith(f"unit {one['unit']} of {one['part']} is {number(value)}.")
        assert browser.js(f"document.querySelectorAll('#units td button')[{k}].ariaPressed") == "true"
    cells = table(browser, "units", "Unit finder")
    assert [float(row[3]) for row in cells] == [one["correlation"] for one in embedded["found"]]
    assert [float(row[4]) for row in cells] == [one["chance"] for one in embedded["found"]]
    gate = next(g for g in embedded["gates"] if g["name"] == "f_l0")
    order = sorted(range(12), key=lambda u: -gate["mean"][u])
    browser.js("document.querySelector('#gates canvas').focus()")
    browser.key("ArrowDown", DOWN)
    browser.key("ArrowRight", RIGHT)
    value = embedded["parts"]["f_l0"][order[1]][1]
    assert told(browser, "gates") == f"Unit {order[1]} of f_l0 after “e” (2): {number(value)}."
    browser.js("document.querySelector('#gates circle').focus()")
    browser.key("ArrowRight", RIGHT)
    second = order[-2]
    line = told(browser, "gates", 1)
    assert line.startswith(f"Unit {second} of f_l0: shut {number(gate['shut'][second])}, open ")
    assert line.endswith(f"Memory: {number(gate['lifetime'][second])} steps.")
    assert gate["lifetime"][second] == pytest.approx(1 / (1 - gate["mean"][second]), rel=1e-3)
    strongest = max(embedded["found"], key=lambda one: abs(one["correlation"]) - one["chance"])
    browser.open(pages["lstm"])
    pressed = "document.querySelector('#units td button[aria-pressed=true]').textContent"
    assert browser.js(pressed) == strongest["detector"]
    clean(browser, pages["lstm"])


def test_a_short_text_makes_no_claim(browser: Browser, pages: dict[str, Path]) -> None:
    """No table of units that would follow something, but why there is none."""
    browser.open(pages["gpt"])
    T = len(data(pages["gpt"])["tokens"])
    assert T < 100
    words = browser.js("document.getElementById('units').innerText")
    assert (
        f"Too short to tell which units follow something: the text has {T} tokens, 100 are needed." in words
    )
    assert "more than chance" not in words


def test_what_is_chosen_first_is_in_sight(browser: Browser, tmp_path: Path) -> None:
    """Of a long text the end would be out of sight, and all colours with it."""
    with tgs.composed():
        one = CharLM(256, 4, rng=tgs.Generator(1))
        report = Report.of(one, ByteTokenizer(), TEXT * 9, only=["saliency"], longest=900)
    browser.open(report.save(tmp_path / "long.html"))
    assert browser.js(f"{SALIENCY}.querySelector('.chosen').dataset.i") == str(OPENING)
    inside = f"""(() => {{const [a, b] = [{SALIENCY}, {SALIENCY}.querySelector('.chosen')]
        .map((e) => e.getBoundingClientRect()); return b.bottom <= a.bottom && b.top >= a.top}})()"""
    assert browser.js(inside)
    assert browser.js(f"{SALIENCY}.scrollHeight > {SALIENCY}.clientHeight")


def test_attention_and_its_numbers(browser: Browser, pages: dict[str, Path]) -> None:
    """Each head that is asked for is the one shown."""
    browser.open(pages["gpt"])
    embedded = data(pages["gpt"])
    rows = table(browser, "attention", "Heads")
    heads = [(one, h) for one in embedded["attention"] for h in range(2)]
    assert [float(r[1]) for r in rows] == [one["entropy"][h] for one, h in heads]
    for k, (one, h) in enumerate(heads):
        browser.js(f"document.querySelectorAll('#attention td button')[{k}].click()")
        row = by_characters(embedded, one["weights"][h])[-1]
        best = int(np.argmax(row))
        line = told(browser, "attention")
        assert f"({best + 1}), {len(row) - 1 - best} before: " in line
        assert float(re.findall(r"before: (\S+)\.$", line)[0]) == pytest.approx(row[best], rel=1e-3)
    browser.js("document.querySelector('#attention .heat canvas').focus()")
    browser.key("ArrowDown", DOWN)
    browser.key("ArrowRight", RIGHT)
    assert told(browser, "attention", 1) == (
        f"“ㅖ” of “옛” (1) at “ㅖ” of “옛” (1): {number(heads[-1][0]['weights'][1][1][1])}."
    )
    assert "Gates: A Transformer has no gates." in browser.js("document.body.innerText")


def by_characters(embedded: Any, weights: list[list[float]]) -> list[np.ndarray]:
    """Weights of the characters: those of the tokens seen added up, the mean over the tokens that look."""
    starts, spans = embedded["starts"], embedded["spans"]
    full = np.zeros((len(weights), len(weights)))
    for t, row in enumerate(weights):
        full[t, starts[t] : t + 1] = row
    return [
        np.array([full[a:b, c:d].sum() / (b - a) for c, d in spans[: i + 1]])
        for i, (a, b) in enumerate(spans)
    ]


def test_the_map_of_each_head_and_of_each_window(browser: Browser, pages: dict[str, Path]) -> None:
    """A picture a head, walked by keys; a window alone or all; each cell tells the weight, or why there is none."""
    browser.open(pages["gpt"])
    embedded = data(pages["gpt"])
    T, starts = len(embedded["tokens"]), embedded["starts"]
    assert starts == [0] * 32 + [t - t % 16 - 16 for t in range(32, T)]
    pictures = "[...document.querySelectorAll('#attention .heads button')]"
    assert browser.js(f"{pictures}.map((one) => one.tabIndex)") == [0, -1, -1, -1]
    painted = f"""{pictures}.map((one) => {{
        const canvas = one.querySelector('canvas');
        return new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size;
    }})"""
    assert min(browser.js(painted)) > 6, "there is something in each"
    browser.js(f"{pictures}[0].focus()")
    for _ in range(3):
        browser.key("ArrowRight", RIGHT)
    assert browser.js(f"{pictures}.map((one) => one.ariaPressed)") == ["false", "false", "false", "true"]
    assert browser.js("document.activeElement.ariaLabel") == "Map of l1, head 1"
    weights = embedded["attention"][1]["weights"][1]
    canvas = "document.querySelector('#attention .heat canvas')"
    size = f"[{canvas}.height, {canvas}.width]"
    assert browser.js(size) == [T, T]
    choose = "[...document.querySelectorAll('#attention select')].at(-1)"
    names = browser.js(f"[...{choose}.options].map((one) => one.textContent)")
    assert names[:4] == [f"all {T}", "1 to 32", "33 to 48", f"49 to {T}"]
    browser.js(f"{choose}.selectedIndex = 2; {choose}.dispatchEvent(new Event('change'))")
    assert browser.js(size) == [16, 32]
    browser.js(f"{canvas}.focus()")
    browser.key("ArrowDown", DOWN)
    browser.key("ArrowRight", RIGHT)
    assert told(browser, "attention", 1).endswith(f": {number(weights[33][1])}.")
    browser.key("End", END)
    assert told(browser, "attention", 1).endswith(": it comes later.")
    browser.js(f"{choose}.selectedIndex = 0; {choose}.dispatchEvent(new Event('change'))")
    for _ in range(40):
        browser.key("ArrowDown", DOWN)
    browser.key("Home", HOME)
    assert told(browser, "attention", 1).endswith("cannot see “ㅇ” of “옛” (1): it is before its window.")
    clean(browser, pages["gpt"])


@pytest.mark.parametrize("name", ["lstm", "gpt"])
@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible(browser: Browser, pages: dict[str, Path], name: str, dark: bool) -> None:
    """A contrast of 4.5 or more for each piece of text (WCAG 2, AA), by the system's wish and by the button."""
    browser.open(pages[name], dark=dark)
    assert browser.js("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    for _ in range(2):
        measured = browser.js(CONTRASTS)
        assert len(measured) > 100
        assert measured[0][0] >= 4.5, measured[:3]
        browser.js("document.getElementById('theme').click()")
    paper = browser.js("getComputedStyle(document.body).backgroundColor")
    dim = sum(map(int, re.findall(r"\d+", paper)[:3])) < 200
    assert dim is dark, "two clicks lead back"


@pytest.mark.parametrize("name", ["lstm", "gpt"])
def test_a_telephone_shows_it_without_scrolling_sideways(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    """At 400 pixels nothing of the page sticks out; buttons of the tables are within reach."""
    browser.open(pages[name], width=400, height=800)
    assert browser.js("document.documentElement.scrollWidth") <= 400
    right = browser.js(
        "Math.max(...[...document.querySelectorAll('td button')].map((b) => b.getBoundingClientRect().right))"
    )
    assert right <= 400
    clean(browser, pages[name])


def test_numbers_that_are_none_are_words(browser: Browser, tmp_path: Path) -> None:
    """NaN and inf in a state are told as such, and the rest of the page works."""
    with tgs.composed():
        report = Report.of(CharLM(256, 4, rng=tgs.Generator(1)), ByteTokenizer(), "some more text")
    h = report.record.parts["h_l0"].copy()
    h[3, 0], h[4, 0] = math.nan, math.inf
    record = dataclasses.replace(report.record, parts={**report.record.parts, "h_l0": h}, found=[])
    page = Report(record).save(tmp_path / "odd.html")
    browser.open(page)
    strip = "document.querySelector('#units .strip')"
    lines = []
    for i in (3, 4, 5):
        browser.js(f"{strip}.querySelectorAll('[role=option]')[{i}].focus()")
        lines.append(told(browser, "units"))
    assert lines[0].endswith("unit 0 of h_l0 is NaN.")
    assert lines[1].endswith("unit 0 of h_l0 is inf.")
    assert re.search(r"is -?0\.\d+\.$", lines[2])
    assert browser.js(f"{strip}.querySelectorAll('.odd').length") == 2
    clean(browser, page)


def test_in_print_it_is_light_and_whole(browser: Browser, pages: dict[str, Path]) -> None:
    """Nothing to press, nothing that scrolls."""
    browser.open(pages["lstm"], width=800)
    browser.media("print")
    try:
        assert browser.js("getComputedStyle(document.querySelector('button')).display") == "none"
        assert browser.js(f"getComputedStyle({SALIENCY}).overflowY") == "visible"
    finally:
        browser.media("")
