# ruff: noqa: RUF001
"""Laws of pictures: what is drawn is what is on the tape, no name breaks it, and nobody's process is at risk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tinygrad_seq as tgs
from tinygrad_seq.engine.tensor import Tensor
from tinygrad_seq.errors import DataError, DTypeError, GraphError, RenderError
from tinygrad_seq.tape.tape import Tape
from tinygrad_seq.viz import Graph, Picture, draw
from tinygrad_seq.viz import picture as picture_module
from tinygrad_seq.viz.fold.fold import at_level
from tinygrad_seq.viz.fold.folder import Folder, Wish
from tinygrad_seq.viz.graph.clusters import places
from tinygrad_seq.viz.graph.from_tape import read
from tinygrad_seq.viz.render.graphviz import render
from tinygrad_seq.viz.render.scene import Scene
from tinygrad_seq.viz.render.svg import slimmed

needs_pygraphviz = pytest.mark.skipif(find_spec("pygraphviz") is None, reason="needs the extra [graph]")
needs_shell = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for dot are shell scripts")


def weight(*shape: int, name: str = "w") -> Tensor:
    """A parameter of ones."""
    return Tensor(np.ones(shape, np.float32), requires_grad=True, name=name)


def batch(*shape: int, name: str = "x") -> Tensor:
    """Data of ones."""
    return Tensor(np.ones(shape, np.float32), name=name)


def message(error: type[Exception], call: Callable[..., object], *arguments: object) -> str:
    """The full text of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


def rnn(steps: int, h: Tensor, w: Tensor, cut_at: int = -1) -> Tensor:
    """A plain recurrence in a scope of its own."""
    with tgs.scope("rnn"):
        for t in range(steps):
            with tgs.time_step(t):
                h = tgs.cut(h) if t == cut_at else h
                h = (h @ w).tanh()
    return h


def lstm(steps: int) -> Tensor:
    """An LSTM from primitives; what a step hands on climbs from its foot to the head of the next."""
    x, w, u, b = (
        batch(steps, 2, 3),
        weight(3, 16, name="w_ih"),
        weight(4, 16, name="w_hh"),
        weight(16, name="b"),
    )
    h, c = batch(2, 4, name="h0"), batch(2, 4, name="c0")
    with tgs.scope("lstm"):
        for t in range(steps):
            with tgs.time_step(t):
                with tgs.scope("gates"):
                    i, f, g, o = (x[t] @ w + h @ u + b).split(4, 1)
                    i, f, o = (0.5 * (0.5 * gate).tanh() + 0.5 for gate in (i, f, o))
                c = f * c + i * g.tanh()
                h = o * c.tanh()
    return h


# ---------------------------------------------------------------- the DOT text


def outline(dot: str) -> list[str]:
    """A DOT text without its looks: boxes, the words on nodes, edges with how they differ from a plain line."""
    lines = []
    dot = re.sub(r"<tr><td><table[^>]*><tr><td port=.*?</table></td></tr>", "", dot)
    for line in re.sub(r'tooltip="[^"]*"', "", dot).splitlines():
        words = re.sub(
            r"</?(b|i|sub|font|table|tr|td)( [^>]*)?>", "", re.sub(r"<br/>|</td></tr><tr><td>", "|", line)
        ).replace("&#160;", " ")
        box = re.search(r"^\t*(?:color|penwidth).* label=<(.*)> labeljust", words)
        node = re.search(r"^\t*(n\w+) \[label=<(.*)> (?:color|fillcolor|width)", words)
        edge = re.search(r"^\t*(n\w+ -> n\w+)(?: \[(.*?) *\])?$", words)
        if box:
            lines.append(f"[{box[1]}]")
        elif node:
            lines.append(f"{node[1]} {node[2]}")
        elif edge:
            kind = [word for word in ("style=dashed", "0072b2", "a0457d") if word in (edge[2] or "")]
            lines.append(" ".join([edge[1], *kind]))
    return lines


def test_a_diamond_in_full() -> None:
    """Ops, a shared leaf, a constant inside its op and the marked result; the leaf is drawn once."""
    x = weight(2, name="x")
    assert outline(draw((x.exp() / (2.0 - x)).sum()).dot) == [
        "n1 exp|f32[2]",
        "n0_0 x|f32[2]",
        "n3 sub (2, ·)|f32[2]",
        "n4 div|f32[2]",
        "n5 sum|f32[]|result",
        "n0_0 -> n1",
        "n0_0 -> n3",
        "n1 -> n4",
        "n3 -> n4",
        "n4 -> n5",
    ]


def test_a_recurrence_in_full() -> None:
    """A scope, two steps side by side, the weight beside each use, and a cut as a dashed line with scissors."""
    drawn = draw(rnn(2, weight(2, 3, name="h0"), weight(3, 3), cut_at=1))
    assert outline(drawn.dot) == [
        "[rnn]",
        "[t = 0]",
        "n2 matmul|f32[2,3]",
        "n0_0 h0|f32[2,3]",
        "n1_0 w|f32[3,3]",
        "n3 tanh|f32[2,3]",
        "[t = 1]",
        "n5 matmul|f32[2,3]",
        "n1_1 w",
        "n6 tanh|f32[2,3]|result",
        "n0_0 -> n2",
        "n1_0 -> n2",
        "n2 -> n3",
        "n3 -> n5 style=dashed",
        "n1_1 -> n5",
        "n5 -> n6",
    ]
    (line,) = [line for line in drawn.dot.splitlines() if "n3 -> n5" in line]
    assert "✂" in line
    assert 'tooltip="cut: the value flows forward, the gradient stops here (cut before t = 1)"' in line
    assert "gradient reaches at most 1 step back; 1 cut<" in drawn.dot


def labels(*outputs: Tensor | Tape) -> list[str]:
    """The words on the nodes, line by line, in order of the tape's ops."""
    found = [re.sub(r"^n\S+ ", "", line) for line in outline(draw(*outputs).dot) if " -> " not in line]
    return [line for line in found if not line.startswith("[")]


def test_what_belongs_to_an_op_stands_in_it() -> None:
    """Indexes, axes, constants in their place and the function of a checkpoint are part of the label."""
    w = weight(4, 6)

    def segment(x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x.sum()

    first, second = tgs.checkpoint(segment, w)
    for y, words in (
        ((w + 0)[1:3, ::2] * 0.1, "slice [1:3, ::2]|f32[2,3]"),
        (w[1:3, ::2] * 0.1, "w [1:3, ::2]|f32[2,3]"),
        (w.T @ w, "wᵀ|f32[6,4]"),
        (w.sum(1), "sum axis 1|f32[4]|result"),
        (w.max((0, 1), keepdims=True), "max axis 0, 1|f32[1,1]|result"),
        (w.sum(), "sum|f32[]|result"),
        (w.T, "permute (1, 0)|f32[6,4]|result"),
        (w * (1 / 3), "mul 0.3333|f32[4,6]|result"),
        (w**3, "pow (·, 3)|f32[4,6]|result"),
        (tgs.where(w > 2, 1.5, w), "where (·, 1.5, ·)|f32[4,6]|result"),
        (w.to(np.float64), "cast|f64[4,6]|result"),
        (first, "checkpoint segment|result"),
        (second, "checkpoint segment|result"),
    ):
        assert words.replace(">", "&gt;") in labels(y)


def test_long_shapes_and_names_are_shortened_in_the_middle() -> None:
    """What would make a node wide loses its middle; the tooltip has it whole."""
    shape, name = (123, 1, 1, 123, 1, 1, 123, 1, 1, 1, 1, 1), "encoder.layers.0.self_attention.weight_ih_l0"
    w = Tensor(np.zeros((*shape[:-1], 0), np.float32), requires_grad=True, name=name)
    text = draw(w.exp()).dot
    assert "encoder.l…ntion.weight_ih_l0|f32[123,1…1,1,123,1,1,1,1,0]" in labels(w.exp())[1]
    assert f"param {name}\nf32[123,1,1,123,1,1,123,1,1,1,1,0]" in text


def test_several_results_are_numbered() -> None:
    """Each output is marked with its number, the same one once; leaves that are outputs are drawn, even numbers."""
    w = weight(2)
    y = w * 2.0
    assert labels(y, w, y) == ["mul 2|f32[2]|result 1", "w|f32[2]|result 2"]
    half = tgs.engine.apply.constant(0.5, np.dtype(np.float32))
    assert labels(half) == ["0.5|f32[]|result"]
    assert draw(y, w, y, half).nodes == 3


def test_color_is_never_the_only_cue() -> None:
    """Parameters are square, data round, cuts dashed, results framed twice: none differ in colour alone."""
    text = draw(tgs.cut(weight(2, 2).exp()) * weight(2, 2, name="v") @ batch(2, 2)).dot
    lines = [line for line in text.splitlines() if "label=<" in line]
    look = {
        name: line
        for name in ("v", "x", "✂", "matmul")
        for line in lines
        if re.search(rf"[<>]{name}[<>]", line)
    }
    assert "shape=box style=filled" in look["v"]
    assert "shape=ellipse style=filled" in look["x"]
    assert "style=dashed" in look["✂"]
    assert "penwidth=2.4" in look["matmul"]
    assert "<i>result</i>" in look["matmul"]


def test_arguments_are_marked_only_where_their_order_matters() -> None:
    """In the box: none for sums and for products with a weight, numbers for differences, words for where()."""
    a, b = weight(2, 2, name="a"), weight(2, 2, name="b")

    def marks(y: Tensor) -> list[str]:
        return re.findall(r'port="p\d"><font[^>]*>(\w+)<', draw(y).dot)

    assert marks(a + b) == marks(a * b) == marks(a.maximum(b)) == marks(a - 1.0) == []
    assert marks(a @ b) == []
    assert marks(a - b) == marks(a.exp() @ b.exp()) == marks(a / b) == ["1", "2"]
    assert "headport=p1" in draw(a - b).dot
    assert marks(tgs.where(Tensor([True, False]), a, b)) == ["if", "then", "else"]
    assert marks(tgs.concat([a, b, a])) == ["1", "2", "3"]
    assert marks(tgs.concat([a, b, a, b])) == []


# ---------------------------------------------------------------- where things stand


def paths(*outputs: Tensor) -> list[str]:
    """The clusters of the ops, in order, each path once; a second run through a scope has a number."""
    found = places(read(Tape.of(*outputs))).values()
    return list(
        dict.fromkeys(
            " > ".join(
                (f"t{c.label}" if c.kind == "step" else c.label) + f"#{c.run}" * (c.run > 0) for c in path
            )
            for path in found
        )
    )


def test_steps_stand_inside_the_scope_that_loops() -> None:
    """Scopes inside a step are drawn inside it, though the tape does not say which encloses which."""
    assert paths(lstm(2)) == ["lstm > t0 > gates", "lstm > t0", "lstm > t1 > gates", "lstm > t1"]


def scene_of(*outputs: Tensor, level: str = "op", view: str = "unrolled") -> Scene:
    """What is drawn, every op by itself."""
    return Scene(at_level(Folder(read(Tape.of(*outputs)), Wish(view=view)), level))


def loop(h: Tensor, names: list[str], steps: Iterator[int] | range, inner: str = "") -> Tensor:
    """One op for each scope named, at each step."""
    for t in steps:
        with tgs.time_step(t):
            for name in names:
                with tgs.scope(name):
                    h = h.tanh()
    return h


def test_scopes_that_are_gone_through_together_share_their_steps() -> None:
    """Two scopes inside one loop stand in the same steps; two loops in turn have steps of their own."""
    w = weight(2)
    with tgs.scope("m"):
        together = loop(w, ["a", "b"], range(2))
        apart = loop(loop(w, ["enc"], range(2)), ["dec"], range(2))
    assert paths(together) == ["m > t0 > a", "m > t0 > b", "m > t1 > a", "m > t1 > b"]
    assert paths(apart) == ["m > enc > t0", "m > enc > t1", "m > dec > t0", "m > dec > t1"]


def test_a_loop_may_run_backwards() -> None:
    """The reverse direction of a bidirectional layer is a loop like the other."""
    w = weight(2)
    y = loop(loop(w, ["forward"], range(3)), ["reverse"], range(2, -1, -1))
    assert paths(y) == [
        "forward > t0",
        "forward > t1",
        "forward > t2",
        "reverse > t2",
        "reverse > t1",
        "reverse > t0",
    ]


def test_a_layer_used_twice_is_drawn_twice() -> None:
    """The steps of the second run through a scope are not mixed with those of the first."""
    w = weight(2)
    y = loop(loop(w, ["enc"], range(2)), ["enc"], range(2))
    assert paths(y) == ["enc > t0", "enc > t1", "enc#1 > t0", "enc#1 > t1"]
    bare = w
    for t in (0, 1, 0):
        with tgs.time_step(t):
            bare = bare.tanh()
    assert paths(bare) == ["t0", "t1", "t0#1"]


def test_a_recorded_backward_pass_has_a_box_of_its_own() -> None:
    """Gradients on the tape stand in the same scopes and steps below their own heading."""
    w = weight(2, 2)
    y = rnn(2, weight(2, 2, name="h"), w)
    found = paths(tgs.grad(y.sum(), w, create_graph=True))
    assert found == ["rnn > t0", "rnn > t1", "backward > rnn > t1", "backward > rnn > t0"]
    assert "label=<backward pass>" in draw(tgs.grad(y.sum(), w, create_graph=True)).dot


def test_lone_scopes_are_drawn_as_one() -> None:
    """Scopes with nothing in them but one another share a box, however many there are."""
    with tgs.scope("/".join("abcdefgh" * 30)), tgs.time_step(1):
        y = weight(2).exp()
    text = draw(y).dot
    assert text.count("subgraph cluster") == 3  # the scopes, the step, and the weight beside its op
    assert "a/b/c/d/e/f/g/h/a/b" in text


def test_leaves_are_drawn_beside_their_uses() -> None:
    """A weight is drawn once for each step that uses it, and no edge of a leaf leaves its box."""
    scene = scene_of(rnn(3, weight(2, 3, name="h0"), weight(3, 3)))
    box_of = {node: path for path, box in scene.boxes.items() for node in box.nodes}
    assert sorted(node for node in box_of if node.startswith("n1_")) == ["n1_0", "n1_1", "n1_2"]
    leaf_edges = [e for e in scene.edges if re.fullmatch(r"n\d+_\d+", e.tail)]
    assert len(leaf_edges) == 4
    assert all(box_of[e.tail] == box_of[e.head] for e in leaf_edges)


def test_every_argument_has_its_edge() -> None:
    """With the unseen helpers taken out, the edges are those of the tape, each as often as there."""
    for y in (lstm(3), rnn(4, batch(2, 3), weight(3, 3)), attention(3)):
        tape = Tape.of(y)
        scene = scene_of(y)
        # Where lines pass through helpers: what each of them stands for.
        passes = {e.head: e.tail for e in scene.edges if e.head[0] in "re" and e.tail[0] != "a"}
        passes |= {e.tail: e.head for e in scene.edges if e.look.get("dir") == "none"}
        drawn = []
        for e in scene.edges:
            tail = e.tail
            while tail in passes:
                tail = passes[tail]
            if tail[0] == "n" and e.head[0] == "n" and e.look.get("dir") != "none":
                drawn.append((tail.split("_")[0], e.head))
        wanted = [(f"n{a}", f"n{r.slot}") for r in tape for a in r.args if tape[a].op != "const"]
        assert sorted(drawn) == sorted(wanted)


def twice(steps: int) -> Tensor:
    """Two recurrences with one weight and without a scope, and the product of what they end in."""
    w, ends = weight(3, 3), []
    for name in "xy":
        h = weight(3, 3, name=name)
        for t in range(steps):
            with tgs.time_step(t):
                h = (h @ w).tanh()
        ends.append(h)
    return ends[0] * ends[1]


def helpers(y: Tensor) -> dict[str, int]:
    """How many helpers of each kind lines pass through: relays, entries and bends."""
    found = [node[0] for box in scene_of(y).boxes.values() for node in box.nodes]
    return {kind: found.count(kind) for kind in "rec" if kind in found}


def test_lines_are_led_around_the_steps() -> None:
    """A steep line between steps has a bend; one into a loop a relay, and an entry if it goes on to deep inside."""
    assert helpers(rnn(3, weight(2, 3, name="h"), weight(3, 3))) == {}
    assert helpers(lstm(4)) == {"c": 3}
    assert helpers(attention(3)) == {"r": 2, "e": 4, "c": 2}
    with tgs.scope("before"):
        h = weight(2, 3, name="h").exp()
    assert helpers(rnn(1, h, weight(3, 3))) == {}
    assert helpers(rnn(2, h, weight(3, 3))) == {"r": 1}


def attention(steps: int) -> Tensor:
    """A decoder that looks back at all states of an encoder: values from outside go into every step."""
    w, h, states = weight(3, 3), weight(2, 3, name="h"), []
    with tgs.scope("enc"):
        for t in range(steps):
            with tgs.time_step(t):
                h = (h @ w).tanh()
                states.append(h)
    keys = tgs.stack(states)
    with tgs.scope("dec"):
        for t in range(steps):
            with tgs.time_step(t):
                scores = (keys * h).sum(2, keepdims=True).exp()
                h = ((keys * scores).sum(0) @ w + h).tanh()
    return h


# ---------------------------------------------------------------- rendered

SVG = "{http://www.w3.org/2000/svg}"
EVIL = {  # a name, and how it is shown
    '<script>alert("x")</script>': '<script>alert("x")</script>',
    '"]; }': '"]; }',
    "a\\": "a\\",
    "&lt;&amp;": "&lt;&amp;",
    "이름": "이름",
    "--><!--": "--><!--",
    "\\N\\G": "\\\u2060N\\\u2060G",
    "a\nb\x00\x1b": "a\\nb\\x00\\x1b",
    "\ud800": "\\ud800",
}


def svg_of(drawn: Picture) -> ElementTree.Element:
    """The parsed SVG."""
    return ElementTree.fromstring(drawn.svg())


def texts(root: ElementTree.Element) -> list[str]:
    """All text in the picture."""
    pieces = [piece for element in root.iter(f"{SVG}text") for piece in (list(element) or [element])]
    return [(piece.text or "").replace("\xa0", " ") for piece in pieces]


def nodes(root: ElementTree.Element) -> list[str]:
    """The names of the nodes that are seen, without the bends of lines."""
    titles = [g.findtext(f"{SVG}title") or "" for g in root.iter(f"{SVG}g") if g.get("class") == "node"]
    return sorted(title for title in titles if title[0] == "n")


@needs_pygraphviz
@pytest.mark.parametrize(
    "make", [lambda: lstm(3), lambda: attention(4), lambda: weight(2), lambda: weight(2) * 2]
)
def test_the_svg_has_every_node_once(make: Callable[[], Tensor]) -> None:
    """The SVG is well-formed and has as many nodes as the picture says."""
    drawn = draw(make())
    root = svg_of(drawn)
    assert root.tag == f"{SVG}svg"
    assert len(nodes(root)) == len(set(nodes(root))) == drawn.nodes


@needs_pygraphviz
def test_no_name_can_break_a_picture() -> None:
    """Parameters, data, scopes and functions of the worst names draw as their text, and nothing else comes of it."""
    y = weight(2, name="plain")
    for name in EVIL:
        with tgs.scope("in " + name.replace("/", "|")), tgs.time_step(0):
            y = y * weight(2, name=name) + batch(2, name=name)

    def segment(x: Tensor) -> Tensor:
        return x * 2.0

    segment.__qualname__ = "</i><b>"
    drawn = draw(tgs.checkpoint(segment, y))
    root = svg_of(drawn)
    assert len(nodes(root)) == drawn.nodes
    seen = texts(root)
    for shown in EVIL.values():
        assert seen.count(shown) == 2, shown
        assert seen.count("in " + shown.replace("/", "|")) == 1, shown
    assert " </i><b>" in seen
    hovers = [element.get("{http://www.w3.org/1999/xlink}title", "") for element in root.iter(f"{SVG}a")]
    for name in ("\\\u2060N\\\u2060G", "&lt;&amp;"):
        assert sum(hover.startswith(f"param {name}\nf32[2]") for hover in hovers) == 1
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "g", "title", "a", "path", "polygon", "polyline", "ellipse", "text", "tspan", "style",
    }  # fmt: skip


@needs_pygraphviz
@pytest.mark.parametrize("steps", [2, 5, 9])
@pytest.mark.parametrize(
    "model", [lstm, attention, twice, lambda steps: rnn(steps, weight(2, 3, name="h"), weight(3, 3))]
)
def test_time_runs_to_the_right(model: Callable[[int], Tensor], steps: int) -> None:
    """The steps of each loop stand side by side in order of time."""
    root = svg_of(draw(model(steps)))
    loops: list[list[float]] = []
    for element in root.iter(f"{SVG}text"):
        text = (element.text or "").replace("\xa0", " ")
        if text.startswith("t = "):
            loops += [[]] if text == "t = 0" else []
            loops[-1].append(float(element.get("x", "")))
    assert [len(found) for found in loops] == [steps if steps <= 6 else 4] * len(loops)
    assert [sorted(loop) for loop in loops] == loops


@needs_pygraphviz
def test_two_thousand_nodes_are_drawn() -> None:
    """A picture of 2,000 nodes is within what the layout takes."""
    drawn = draw(lstm(66), view="unrolled", level="op")
    assert 1800 < drawn.nodes < 2100
    assert len(nodes(svg_of(drawn))) == drawn.nodes


def test_a_picture_too_large_says_how_to_draw_less() -> None:
    """Above the limit there is no layout, but a word on what to do, and the DOT text."""
    y = weight(2)
    for _ in range(picture_module.MOST_NODES):
        y = y.tanh()
    drawn = draw(y, level="op")
    assert message(RenderError, drawn.svg) == (
        "picture: 4001 nodes are more than anyone can read, or Graphviz lay out soon.\n"
        "  expected at most 4000.\n"
        '  Draw it folded, or at a higher level: draw(..., level="cell").\n'
        "  Files that end in .dot, .json and .txt still work."
    )
    assert drawn.dot.count("<b>tanh</b>") == 4000
    assert draw(y).nodes == 2


@needs_pygraphviz
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.svg", b"<?xml"),
        ("b.PNG", b"\x89PNG\r\n"),
        ("c.pdf", b"%PDF-"),
        ("d.dot", b"digraph tape {"),
        ("e.json", b'{"format":'),
        ("f.txt", b"      "),
    ],
)
def test_the_suffix_decides_the_kind_of_file(name: str, start: bytes, tmp_path: Path) -> None:
    """Each kind of file is written whole, over what was there, and nothing else is left in the folder."""
    target = tmp_path / name
    target.write_bytes(b"old")
    draw(weight(2).exp()).save(target)
    assert target.read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [name]


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    """Any other suffix is an error that lists what there is."""
    drawn = draw(weight(2).exp())
    for name in ("tape.jpg", "tape"):
        assert message(DataError, drawn.save, name) == (
            f"picture: no such kind of file.\n  path: {name!r}\n"
            "  expected a name that ends in .svg, .png, .pdf, .dot, .json or .txt."
        )


@needs_pygraphviz
def test_a_file_that_cannot_be_drawn_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When rendering fails, what stood under the name before still stands there."""
    target = tmp_path / "a.svg"
    target.write_bytes(b"old")
    monkeypatch.setattr(picture_module, "MOST_NODES", 1)
    message(RenderError, draw(weight(2).exp()).save, target)
    assert target.read_bytes() == b"old"


def test_what_cannot_be_drawn() -> None:
    """Nothing at all, and what is no tensor, are refused as Tape.of refuses them."""
    assert message(GraphError, draw).startswith("Tape.of: no outputs given.")
    assert message(DTypeError, draw, 3.0).startswith("Tape.of: not a tensor.")


def test_a_tape_draws_like_the_tensors_it_is_of() -> None:
    """draw(Tape.of(a, b)) is draw(a, b)."""
    a, b = weight(2).exp(), weight(2).log()
    assert outline(draw(Tape.of(a, b)).dot) == outline(draw(a, b).dot)
    assert draw(Tape.of(a, b)).graph.totals.saved is None


def boxes_of(root: ElementTree.Element) -> dict[str, tuple[float, float, float, float]]:
    """The outer bounds of each node that is seen, as (left, top, right, bottom)."""
    found = {}
    for g in root.iter(f"{SVG}g"):
        name = g.findtext(f"{SVG}title") or ""
        if g.get("class") != "node" or name[0] != "n":
            continue
        xs, ys = [], []
        for shape in g.iter():
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", shape.get("points") or shape.get("d") or "")]
            xs, ys = xs + numbers[0::2], ys + numbers[1::2]
            if shape.tag == f"{SVG}ellipse":
                x, y, rx, ry = (float(shape.get(a, "nan")) for a in ("cx", "cy", "rx", "ry"))
                xs, ys = [*xs, x - rx, x + rx], [*ys, y - ry, y + ry]
        found[name] = min(xs), min(ys), max(xs), max(ys)
    return found


def folded_lstm() -> Picture:
    """Two layers of 64 steps, by gates."""
    with tgs.composed():
        return draw(tgs.LSTM(3, 4, 2), tgs.randn(64, 2, 3), level="gate")


FIXTURES: dict[str, Callable[[], Picture]] = {
    "lstm": lambda: draw(lstm(3)),
    "folded": folded_lstm,
    "cuts": lambda: draw(rnn(20, batch(2, 3), weight(3, 3), cut_at=9), level="cell"),
    "rolled": lambda: draw(tgs.LSTM(3, 4), tgs.randn(9, 2, 3), view="rolled"),
    "gradient": lambda: draw(rnn(20, batch(2, 3), weight(3, 3), cut_at=9), color="grad"),
    "backward": lambda: draw(tgs.RNN(3, 4)(tgs.randn(5, 2, 3))[0].sum(), which="backward"),
    "both": lambda: draw(tgs.GRU(3, 4)(tgs.randn(3, 2, 3))[0].sum(), which="both"),
    "wide": lambda: draw(weight(2, name="가중치행렬이름") * batch(2, name="입력데이터")),
}


@needs_pygraphviz
@pytest.mark.parametrize("name", FIXTURES)
def test_nothing_overlaps(name: str) -> None:
    """Well-formed, without NaN, and no two nodes in one place."""
    text = FIXTURES[name]().svg()
    assert "nan" not in re.sub(r"<text.*?</text>|xlink:title=\"[^\"]*\"", "", text).lower()
    found = sorted(boxes_of(ElementTree.fromstring(text)).items(), key=lambda item: item[1])
    assert found
    for i, (one, (left, top, right, bottom)) in enumerate(found):
        for other, (x, y, x_end, y_end) in found[i + 1 :]:
            apart = x >= right - 1 or x_end <= left + 1 or y >= bottom - 1 or y_end <= top + 1
            assert apart, (one, other)


@needs_pygraphviz
@pytest.mark.parametrize("name", FIXTURES)
def test_slimming_changes_bytes_and_no_picture(name: str) -> None:
    """Less than 80 % of what Graphviz wrote; every text, every node and every colour is still there."""
    drawn = FIXTURES[name]()
    before = render(drawn.dot, "svg").decode()
    after = slimmed(before)
    assert len(after) < 0.8 * len(before)
    old, new = ElementTree.fromstring(before), ElementTree.fromstring(after)
    assert texts(new) == texts(old)
    assert nodes(new) == nodes(old)
    for name in ("fill", "stroke", "stroke-dasharray"):
        assert [e.get(name) for e in new.iter() if e.get(name)] == [
            e.get(name) for e in old.iter() if e.get(name)
        ]
    for one, other in zip(boxes_of(new).values(), boxes_of(old).values(), strict=True):
        assert one == pytest.approx(other, abs=0.25)


@needs_pygraphviz
def test_wide_characters_fit_their_boxes() -> None:
    """Hangul and other wide text has room for two columns a character, whatever font the renderer has."""
    for label in ("가중치행렬이름", "重み行列", "ｗｉｄｅ"):
        ((left, _, right, _),) = boxes_of(svg_of(draw(weight(2, name=label)))).values()
        assert right - left >= len(label) * 10 * 1.0


# ---------------------------------------------------------------- notebooks


@needs_pygraphviz
def test_a_notebook_gets_svg_and_text() -> None:
    """Both forms are offered, or those asked for; the SVG shrinks with its page down to small print of 9 pixels."""
    y = weight(2).exp()
    drawn = draw(y)
    bundle = drawn._repr_mimebundle_()
    assert bundle == {"text/plain": drawn.text, "image/svg+xml": drawn.svg()}
    style = r'<svg style="max-width: 100%; min-width: (\d+)px; height: auto" class="tgs-picture" width="([\d.]+)pt"'
    found = re.search(style, drawn.svg())
    assert found is not None
    assert abs(float(found[1]) - float(found[2]) * (4 / 3) * 9 / (8 * 4 / 3)) <= 0.5
    assert set(drawn._repr_mimebundle_(include=["text/plain"])) == {"text/plain"}
    assert set(drawn._repr_mimebundle_(exclude={"text/plain"})) == {"image/svg+xml"}


def test_a_notebook_falls_back_to_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can render, the listing is shown with the reason; a long one in part."""
    monkeypatch.setattr(picture_module, "MOST_NODES", 0)
    y = weight(2).exp()
    bundle = draw(y)._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert bundle["text/plain"].startswith(f"{draw(y).text}\n\npicture: 2 nodes are more than")
    for _ in range(300):
        y = y.tanh()
    lines = draw(y, level="op")._repr_mimebundle_(include=["text/plain"])["text/plain"].splitlines()
    assert len(lines) == 201
    assert lines[-4] == "... 104 more ..."
    assert repr(draw(y)) == "Picture(302 nodes)"


# ---------------------------------------------------------------- renderers


@pytest.fixture
def no_renderer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without pygraphviz, and an empty folder as its PATH, to put a `dot` in."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tinygrad_seq.viz.render.graphviz.find_spec", lambda name: None)
    return tmp_path


def put_dot(folder: Path, script: str) -> None:
    """A shell script by the name of dot."""
    path = folder / "dot"
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


WAY_OUT = (
    '  Install one of them: pip install "tinygrad_seq[graph]", or Graphviz from graphviz.org.\n'
    '  Without either, the picture\'s .dot text and .save("picture.dot") still work.'
)


def test_without_a_renderer_one_message_says_what_to_install(no_renderer: Path) -> None:
    """The error names both ways and that the text still works."""
    assert message(RenderError, draw(weight(2).exp()).svg) == (
        "picture: nothing here could draw it as svg.\n  dot: not found.\n  pygraphviz: not found.\n" + WAY_OUT
    )


@pytest.mark.parametrize("script", ["", "sleep 60", "kill -SEGV $$"])
def test_nothing_is_lost_where_nothing_can_draw(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Graphviz, one that hangs, one that crashes: the other kinds are written, and one message says so."""
    if script and sys.platform == "win32":
        pytest.skip("needs /bin/sh")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr("tinygrad_seq.viz.render.graphviz.SECONDS", 0.5)
    if script:
        put_dot(tmp_path / "bin", script)
    reason = {"": "not found.", "sleep 60": "not done after 0.5 s."}.get(
        script, "failed with exit code -11: it said nothing"
    )
    (tmp_path / "a.txt").write_text("mine")
    drawn = draw(weight(2).exp())
    start = time.perf_counter()
    assert message(RenderError, drawn.save, tmp_path / "a.svg") == (
        f"picture: nothing here could draw it as svg.\n  dot: {reason}\n  pygraphviz: not found.\n{WAY_OUT}\n"
        "  Written instead: a.dot, a.json."
    )
    assert time.perf_counter() - start < 20
    assert sorted(p.name for p in tmp_path.glob("a.*")) == ["a.dot", "a.json", "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == drawn.dot
    assert Graph.from_json((tmp_path / "a.json").read_text(encoding="utf-8")) == drawn.graph


@needs_shell
def test_dot_on_the_path_is_used(no_renderer: Path) -> None:
    """It gets the text on stdin and the format as an option and prints the picture; noise is ignored."""
    put_dot(no_renderer, 'echo "Fontconfig warning: x" >&2; echo "Warning: y" >&2; echo "$@"; cat')
    assert render("digraph {한글}", "svg") == "-Tsvg\ndigraph {한글}".encode()
    assert render("digraph {}", "png") == b"-Tpng -Gdpi=144\ndigraph {}"
    put_dot(no_renderer, "echo \"<svg id='1'/>\"")
    assert draw(weight(2)).svg() == "<svg style=\"max-width: 100%; height: auto\" id='1'/>\n"


NO_GRAPH = "Error: <stdin>: syntax error in line 1"
NO_LABEL = "Error: not well-formed (invalid token) in line 1"


@needs_shell
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "failed with exit code -11: it said nothing"),
        (f"echo '{NO_GRAPH}' >&2; exit 1", f"failed with exit code 1: {NO_GRAPH}"),
        (f"cat; echo '{NO_LABEL}' >&2; echo more >&2", f"failed with exit code 0: {NO_LABEL}"),
        ("exit 0", "failed with exit code 0: it said nothing"),
        ("cat; echo Help >&2; exit 3", "failed with exit code 3: Help"),
    ],
)
def test_a_dot_that_fails_is_an_error(no_renderer: Path, script: str, reason: str) -> None:
    """A crash, a refusal, a label left out and an empty picture are all told with what dot said."""
    put_dot(no_renderer, script)
    assert message(RenderError, render, "digraph {}", "pdf") == (
        f"picture: nothing here could draw it as pdf.\n  dot: {reason}\n  pygraphviz: not found.\n{WAY_OUT}"
    )


@needs_shell
def test_a_dot_that_cannot_be_started_is_an_error(no_renderer: Path) -> None:
    """A file that is no program is told as such."""
    (no_renderer / "dot").write_bytes(b"\x00\x01")
    (no_renderer / "dot").chmod(0o755)
    assert "  dot: cannot be started (Exec format error).\n" in message(
        RenderError, render, "digraph {}", "svg"
    )


def is_running(pid: int) -> bool:
    """True if there is such a process and it is more than a corpse."""
    asked = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(asked.stdout.strip()) and not asked.stdout.startswith("Z")


@needs_shell
def test_a_dot_that_hangs_is_ended_with_all_it_started(no_renderer: Path) -> None:
    """After the time limit neither dot nor a child of it goes on, and the error says how long was waited."""
    pids = no_renderer / "pids"
    put_dot(no_renderer, f"sleep 100 & echo $! $$ > {pids}; wait")
    start = time.perf_counter()
    with pytest.raises(RenderError, match=r"dot: not done after 0\.5 s\."):
        render("digraph {}", "svg", seconds=0.5)
    assert time.perf_counter() - start < 20
    deadline = time.perf_counter() + 10
    while any(is_running(int(pid)) for pid in pids.read_text().split()) and time.perf_counter() < deadline:
        time.sleep(0.02)
    assert not any(is_running(int(pid)) for pid in pids.read_text().split())


@needs_shell
@needs_pygraphviz
def test_pygraphviz_steps_in_for_a_broken_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dot is there but does not work, the other renderer is asked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    put_dot(tmp_path, "exit 3")
    assert b"<svg" in render("digraph {a}", "svg")


@needs_pygraphviz
@pytest.mark.parametrize("dot", ["digraph { a -> ", "digraph { a [label=<<b>>] }", ""])
def test_malformed_text_raises(dot: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Text that is no graph, or has a label that is no label, gives an error and no picture, and no noise."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "pygraphviz: failed with exit code " in message(RenderError, render, dot, "svg")


@needs_pygraphviz
def test_rendering_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither warnings of fonts nor of size reach the caller's terminal."""
    draw(lstm(40)).svg()
    assert capfd.readouterr() == ("", "")


@needs_shell
@needs_pygraphviz
def test_a_crash_of_graphviz_does_not_reach_the_caller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The native code runs in a process of its own: when it dies, there is an error and we live on."""
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(crashing))
    text = message(RenderError, render, "digraph {}", "svg")
    assert "  pygraphviz: failed with exit code -11: it said nothing\n" in text


def test_a_frozen_program_has_no_interpreter_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Python does not know its own executable, pygraphviz is not asked."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "")
    assert "  pygraphviz: not found.\n" in message(RenderError, render, "digraph {}", "svg")


def test_graphviz_is_imported_only_to_draw() -> None:
    """Importing the pictures does not import the package that builds them; drawing does."""
    code = (
        "import sys; from tinygrad_seq.viz import draw; assert 'graphviz' not in sys.modules; "
        "import tinygrad_seq as tgs; p = draw(tgs.ones(2)); p.text; assert 'graphviz' not in sys.modules; "
        "p.dot; assert 'graphviz' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
