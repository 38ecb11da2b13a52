"""A program, not a module: lays out the DOT text on stdin with pygraphviz and writes the picture to stdout.

It runs in a process of its own and imports nothing of this package.
"""

from __future__ import annotations

import sys


def main(form: str, dpi: str = "") -> None:
    """Write the picture in this format."""
    import pygraphviz

    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
    if dpi:
        graph.graph_attr["dpi"] = dpi
    picture = graph.draw(format=form, prog="dot")
    sys.stdout.buffer.write(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
