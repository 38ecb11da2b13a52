"""`tgs graph`: the graph of a trained model, or of a layer by its name, as a tree or as a picture."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_seq.arguments import count
from tinygrad_seq.cli.parser import nearest_to
from tinygrad_seq.errors import ArgumentError, DataError, explain
from tinygrad_seq.runtime.untrusted_files import UnfitError, read_file, reason_of
from tinygrad_seq.terminal import one_line

if TYPE_CHECKING:
    from tinygrad_seq.viz import Picture

EXAMPLE = """\
  tgs graph lstm --steps 64 --layers 2
  tgs graph runs/demo -o graph.svg --color grad
  tgs graph gru --view rolled --level op -o gru.png"""

MODELS = ("rnn", "gru", "lstm", "transformer", "char")
_STEPS = 6
_MOST_STEPS = 100_000  # each is a dozen ops, and a kilobyte of each
_NAMED = 8  # names in an error
# How a text file that this command wrote can be recognised; a file such as notes.txt may be the user's own.
_OURS = {
    ".txt": " kept for the backward pass",
    ".dot": "digraph tape {",
    ".json": '{"format":"tinygrad_seq picture ',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tgs graph`."""
    parser.add_argument(
        "what", metavar="RUN|MODEL", help=f"a run's folder, a saved .json, or one of {', '.join(MODELS)}"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=".svg .png .pdf .dot .json or .txt (default: a tree, printed)"
    )
    parser.add_argument(
        "--level", choices=("model", "cell", "gate", "op", "lesson"), help="how much is one box"
    )
    parser.add_argument(
        "--view", choices=("auto", "folded", "unrolled", "rolled"), default="auto", help="how time is shown"
    )
    parser.add_argument("--color", choices=("kind", "grad"), default="kind", help="what colours mean")
    parser.add_argument(
        "--which", choices=("forward", "backward", "both"), default="forward", help="which pass is drawn"
    )
    parser.add_argument(
        "--expand",
        action="append",
        default=[],
        metavar="NAME",
        help="show this op by op; a glob works, and twice",
    )
    parser.add_argument(
        "--collapse", action="append", default=[], metavar="NAME", help="show this as one box"
    )
    parser.add_argument("--composed", action="store_true", help="fused ops as what they are made of")
    for name, default, what in (
        ("steps", _STEPS, "time steps"),
        ("layers", 1, "layers, of a MODEL"),
        ("hidden", 8, "units, of a MODEL"),
        ("batch", 1, "sequences"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default {default})"
        )


def run(args: argparse.Namespace) -> int:
    """Draw it: print the tree, or write the file and say so."""
    if args.output is not None:
        _refuse_foreign(Path(args.output))
    picture, drawn = _picture(args)
    _check_names(picture, args)
    if args.output is None:
        print(picture.text)
    else:
        picture.save(args.output)
        print(f"wrote   {one_line(args.output)}")
        if picture.folded.note:
            print(picture.folded.note)
    if drawn:
        print(drawn)
    return 0


def _refuse_foreign(path: Path) -> None:
    """Refuse to overwrite a file that is not an older picture."""
    mark = _OURS.get(path.suffix.lower())
    if mark is None or not path.is_file() or not path.stat().st_size or _bears(path, mark):
        return
    what = f"tgs graph: {str(path)!r} is there already, and is no picture"
    raise ArgumentError(what, None, "", "Give another name, or remove the file.")


def _bears(path: Path, mark: str) -> bool:
    try:
        return mark.encode() in read_file(path, 1 << 28)
    except UnfitError:  # no picture of ours is as large
        return False


def _check_names(picture: Picture, args: argparse.Namespace) -> None:
    """Refuse a name that is not in the graph; the error lists the nearest names."""
    asked = [("expand", name) for name in args.expand] + [("collapse", name) for name in args.collapse]
    if not asked:
        return
    from tinygrad_seq.viz.fold.select import Choice
    from tinygrad_seq.viz.graph.clusters import places, scopes_in
    from tinygrad_seq.viz.graph.fused_bodies import opened

    whole, paths = picture.graph, places(picture.graph)
    # What a fused op is made of has names too, once it is shown.
    inner = opened(whole, lambda n: picture.wish.expand.takes(n, ()))
    inner_paths = paths if inner is whole else places(inner)
    found = [(n, paths[n.id]) for n in whole.nodes if not n.is_leaf]
    found += [(n, inner_paths[n.id]) for n in inner.nodes if not n.is_leaf]
    for option, name in asked:
        choice = Choice(option, name)
        if not any(choice.takes(n, path) for n, path in found):
            scopes = [scope for path in dict.fromkeys(paths.values()) for scope in scopes_in(path)]
            ops = [n.op for n, _ in found]
            raise ArgumentError(_no_such_name(f"--{option} {name!r}", name, scopes, ops))


def _no_such_name(said: str, name: str, scopes: list[str], ops: list[str]) -> str:
    import difflib

    short = dict.fromkeys([scope.rpartition("/")[2] for scope in scopes] + ops)
    near = difflib.get_close_matches(name, dict.fromkeys([*short, *scopes]), n=3)
    *first, last = map(repr, near or [""])
    hint = f"Did you mean {', '.join(first)}{' or ' if first else ''}{last}?" if near else ""
    told = [one for one in short if not re.fullmatch(r"t[1-9]\d*", one)][:_NAMED]
    rule = f"expected scopes, time steps or ops, also by a glob, such as {', '.join(told)}."
    return explain(f"tgs graph: {said} means nothing in this graph", None, rule, hint)


def _picture(args: argparse.Namespace) -> tuple[Picture, str]:
    """The picture, and how much of a run's window it shows."""
    from contextlib import nullcontext

    from tinygrad_seq.fuser.decorator import composed
    from tinygrad_seq.viz import Graph, draw

    for name in ("steps", "layers", "hidden", "batch"):
        count("tgs graph", f"--{name}", getattr(args, name))
    if args.steps * args.layers > _MOST_STEPS:
        rule = f"expected at most {_MOST_STEPS:,} steps over all layers, got {args.steps * args.layers:,}."
        raise ArgumentError("tgs graph: more than fits", None, rule, "Equal steps are one box anyway.")
    _refuse_unrolled(args)
    settings: dict[str, Any] = {
        "level": args.level,
        "view": args.view,
        "color": args.color,
        "which": args.which,
        "expand": args.expand,
        "collapse": args.collapse,
    }
    if args.what.endswith(".json") and Path(args.what).is_file():
        return draw(Graph.from_json(_text_of(Path(args.what))), **settings), ""
    with composed() if args.composed else nullcontext():
        loss, window = _loss(args)
        drawn = (
            f"{args.steps} of {window} steps: the run's window is longer, --steps {window} draws all of it"
        )
        return draw(loss, **settings), drawn if args.steps < window else ""


def _refuse_unrolled(args: argparse.Namespace) -> None:
    """Refuse more unrolled steps than can be laid out, before the model runs."""
    from tinygrad_seq.viz.picture import MOST_NODES
    from tinygrad_seq.viz.render.graphviz import FORMATS

    drawn = args.output is not None and Path(args.output).suffix.lower()[1:] in FORMATS
    steps = args.steps * (args.layers if args.what in MODELS else 1)
    by_step = args.view == "unrolled" and args.level not in (None, "model") and not args.collapse
    if drawn and by_step and args.what != "transformer" and steps > MOST_NODES:
        what = f"tgs graph: {steps:,} steps, each by itself, are too many to draw"
        rule = f"expected at most {MOST_NODES:,} over all layers."
        raise ArgumentError(what, None, rule, "Leave out --view unrolled: equal steps are one box then.")


def _text_of(path: Path) -> str:
    try:
        return read_file(path, 1 << 28).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(f"tgs graph: {str(path)!r} cannot be read: {reason}") from error


def _loss(args: argparse.Namespace) -> tuple[Any, int]:
    """The loss of a run's model on characters that it knows, or what a small layer returns on random numbers; and how
    many steps the run was trained with, 0 for a layer.
    """
    if args.what not in MODELS:
        if not Path(args.what).exists() and "/" not in args.what and "\\" not in args.what:
            rule = f"expected the folder of a run, or one of {', '.join(MODELS)}."
            raise ArgumentError(
                f"tgs graph: there is no {args.what!r}", None, rule, nearest_to(args.what, MODELS).strip()
            )
        from tinygrad_seq.training import load_run

        found = load_run(args.what)
        return _char_loss(found.model, args), found.config.window
    from tinygrad_seq import nn
    from tinygrad_seq.engine.creation import randn
    from tinygrad_seq.engine.random import Generator

    size, rng = args.hidden, Generator(0, "init")
    if args.what == "char":
        from tinygrad_seq.models import CharLM

        return _char_loss(CharLM(30, size, args.layers, rng=rng), args), 0
    x = randn(args.steps, args.batch, size)
    if args.what == "transformer":
        size += size % 2
        x = randn(args.steps, args.batch, size)
        model = nn.Transformer(size, 2, args.layers, args.layers, 4 * size, dropout=0.0)
        list(model.named_parameters())
        return model(x, x).sum(), 0
    layer = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[args.what](size, size, args.layers, rng=rng)
    return layer(x)[0].sum(), 0


def _char_loss(model: Any, args: argparse.Namespace) -> Any:
    from tinygrad_seq.engine.creation import arange
    from tinygrad_seq.engine.tensor import Tensor

    model.eval()
    list(model.named_parameters())
    ids = (arange(args.steps + 1).numpy()[:, None] + arange(args.batch).numpy()) % model.vocabulary_size
    return model.loss(Tensor(ids[:-1], name="characters"), Tensor(ids[1:], name="next characters"))[0]


__all__ = ["EXAMPLE", "add_arguments", "run"]
