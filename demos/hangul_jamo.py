"""Spelling without being told the rules: a character model that writes Korean number words letter by letter.

    python demos/hangul_jamo.py

Korean has two sets of numerals. Sino-Korean ones are built like 325 = 삼백이십오: three hundred two ten five; a one
before 십 (ten), 백 (hundred), 천 (thousand) or 만 (ten thousand) is left out, and so is every zero. Native ones go to
99: 스물셋 is twenty and three.

The model reads one word a line through the tokenizer `jamo` (삼 is ㅅ + ㅏ + ㅁ, three symbols): a fifth of the
numbers up to 99,999 in Sino-Korean, and all native ones. It is asked to write by itself, and a parser that shares
nothing with the generator says which words are numbers. Look at two figures: how many are spelt right, and how many
of these stand for a number that was in no training line: those it cannot have learnt by heart. And at the nats a word
on held-out numbers, beside what one would come to who knows all rules and not which numbers were drawn:

    p ln 99,999 + (1 - p) ln 99 - p ln p - (1 - p) ln(1 - p),   p = 0.9 the share of Sino-Korean words

Found with seed 1: 99.75 % of 2,000 words spelt right, 72 % of these never seen, 11.16 nats a word beside 11.15, in
three minutes; 99.15 % after half as many updates (`--steps 2000`).
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import tinygrad_seq as tgs
from tinygrad_seq import data, optim
from tinygrad_seq import functional as F
from tinygrad_seq.models import CharLM

LARGEST = 99_999
SINO = 0.9  # share of the words that are Sino-Korean
LONGEST = 28  # letters of a word and its line break: 칠만칠천칠백칠십칠

# ---- writing: number to word ------------------------------------------------------------------------------
DIGITS = ["", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"]
PLACES = ["", "십", "백", "천", "만"]
ONES = ["", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉"]
TENS = ["", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"]


def sino(n: int) -> str:
    """A number from 1 to 99,999 in Sino-Korean.

    >>> sino(325), sino(10_010)
    ('삼백이십오', '만십')
    """
    word = ""
    for place in range(len(PLACES)):
        n, digit = divmod(n, 10)
        if digit:
            word = ("" if digit == 1 and place else DIGITS[digit]) + PLACES[place] + word
    return word


def native(n: int) -> str:
    """A number from 1 to 99 in native Korean.

    >>> native(23), native(90)
    ('스물셋', '아흔')
    """
    return TENS[n // 10] + ONES[n % 10]


# ---- reading: word to number, with nothing of the above -----------------------------------------------------
D = "[이삼사오육칠팔구]"
SINO_WORD = re.compile(f"(?:({D}?)만)?(?:({D}?)천)?(?:({D}?)백)?(?:({D}?)십)?(일|{D})?")
NATIVE_WORD = re.compile(
    "(열|스물|서른|마흔|쉰|예순|일흔|여든|아흔)?(하나|둘|셋|넷|다섯|여섯|일곱|여덟|아홉)?"
)
VALUES = {
    **{"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9},
    **{"하나": 1, "둘": 2, "셋": 3, "넷": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9},
    **{
        "열": 10,
        "스물": 20,
        "서른": 30,
        "마흔": 40,
        "쉰": 50,
        "예순": 60,
        "일흔": 70,
        "여든": 80,
        "아흔": 90,
    },
}


def read(word: str) -> int | None:
    """The number that a word stands for, None where it is no rightly spelt number word.

    >>> read("삼백이십오"), read("스물셋"), read("일십"), read("이십삼백")
    (325, 23, None, None)
    """
    if not word:
        return None
    if found := SINO_WORD.fullmatch(word):
        *places, ones = (
            found.groups()
        )  # None: no such place in the word; "": no digit before it, which is one
        sizes = zip((10_000, 1_000, 100, 10), places, strict=True)
        return sum(size * VALUES.get(digit, 1) for size, digit in sizes if digit is not None) + VALUES.get(
            ones, 0
        )
    if found := NATIVE_WORD.fullmatch(word):
        return sum(VALUES[part] for part in found.groups() if part)
    return None


# ---- what is learnt from, and what is not --------------------------------------------------------------------
def numbers(share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The Sino-Korean numbers to learn from, and those held out, of 1 .. 99,999."""
    order = np.random.default_rng(seed).permutation(LARGEST) + 1
    n = round(share * LARGEST)
    return order[:n], order[n:]


def lines(known: np.ndarray, count: int, rng: np.random.Generator) -> list[str]:
    """Words drawn at random: nine of ten Sino-Korean, of the numbers known, the others native."""
    drawn = rng.choice(known, count)
    return [sino(n) if rng.random() < SINO else native(rng.integers(1, 100)) for n in drawn.tolist()]


def floor() -> float:
    """Nats a word for who knows the rules and no more: the entropy of the draw, were all numbers in it."""
    kinds = -SINO * math.log(SINO) - (1 - SINO) * math.log(1 - SINO)
    return kinds + SINO * math.log(LARGEST) + (1 - SINO) * math.log(99)


# ---- the model -------------------------------------------------------------------------------------------------
def write(model: CharLM, tokenizer: data.JamoTokenizer, each: int, seed: int) -> list[str]:
    """`each` words from each of 100 texts written side by side.

    Letter by letter from P(next letter), nothing forbidden. A word that is not ended in time counts as it is.
    """
    rng, rows = np.random.default_rng(seed), 100
    ids, state, written = np.full((1, rows), tokenizer.encode("\n")[0]), None, []
    with tgs.no_grad():
        for _ in range(LONGEST * each):
            logits, state = model(ids, state)
            p = F.softmax(logits[0].double()).numpy().cumsum(-1)
            ids = (p < rng.random((rows, 1))).sum(-1).clip(max=len(tokenizer) - 1)[None]
            written.append(ids[0])
    texts = np.array(written).T
    return [word for text in texts for word in (tokenizer.decode(text).split("\n") + each * [""])[:each]]


def judge(words: list[str], known: set[int]) -> tuple[float, float]:
    """The share of words that are number words, and which share of these stands for no number in `known`."""
    values = [read(word) for word in words]
    right = [value for value in values if value is not None]
    new = [
        word for word, value in zip(words, values, strict=True) if value and value > 99 and value not in known
    ]
    return len(right) / len(words), len(new) / max(1, len(right))


def nats_a_word(model: CharLM, tokenizer: data.JamoTokenizer, words: list[str]) -> float:
    """Mean of -log P(word and the line break after it)."""
    ids = tokenizer.encode("\n" + "\n".join(words) + "\n")
    return -float(model.score(ids)[1:].sum()) / len(words)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.2, help="of the numbers up to 99,999, learnt from")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4000, help="updates")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--words", type=int, default=2000, help="written and judged at the end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--reach", type=float, default=None, help="fail unless this share is right, such as 0.99"
    )
    args = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # a console without Korean letters shows question marks
    tgs.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    known, held_out = numbers(args.share, seed=0)
    text = "\n" + "\n".join(lines(known, 2 * len(known), rng)) + "\n"
    tokenizer = data.JamoTokenizer.learn([text])
    streams = data.Streams(tokenizer.encode(text), batch=args.batch, window=32)
    model = CharLM(len(tokenizer), args.hidden)
    print(
        f"{len(known):,} Sino-Korean numbers to learn from, {len(held_out):,} held out; {model.count():,} weights"
    )

    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    schedule = optim.CosineWithWarmup(optimizer, args.steps, warmup=min(50, args.steps // 4))
    state, start = None, time.perf_counter()
    for step in range(1, args.steps + 1):
        batch = next(streams)
        loss, state = model.loss(batch.inputs, tgs.tensor(batch.targets), None if batch.fresh else state)
        state = tgs.detach(state)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % max(1, args.steps // 8) == 0:
            words = write(model, tokenizer, 1, seed=step)
            right, _ = judge(words, set(known.tolist()))
            shown = " ".join(word if read(word) else word + "(?)" for word in words[:3])
            seconds = time.perf_counter() - start
            print(
                f"step {step:5d}  {loss.item():.3f} nats a letter, {right:4.0%} right, {seconds:.0f} s  {shown}",
                flush=True,
            )

    words = write(model, tokenizer, -(-args.words // 100), seed=0)
    ill = sum(tokenizer.ill_formed(tokenizer.encode(word)) for word in words)
    right, new = judge(words, set(known.tolist()))
    wrong = [word for word in words if read(word) is None]
    found = nats_a_word(model, tokenizer, lines(held_out, 500, rng))
    print(f"\nwrong: {', '.join(wrong[:10]) or 'none'}; letters that stand in no syllable: {ill}")
    print(
        f"on words for held-out numbers: {found:.2f} nats a word; knowing the rules and no more: {floor():.2f}"
    )
    print(
        f"{right:.2%} of {len(words):,} words are spelt right; {new:.0%} of these are numbers it had never seen"
    )
    if args.reach is not None and not right >= args.reach:
        raise SystemExit(f"{right:.2%} of the words are spelt right, less than {args.reach:.2%}")


if __name__ == "__main__":
    main()
