"""Pictures of tapes: `draw(loss).save("loss.svg")`, and the graph behind them as plain data."""

from tinygrad_seq.viz.drawing import draw
from tinygrad_seq.viz.graph.model import Edge, Graph, Node
from tinygrad_seq.viz.picture import Picture

__all__ = ["Edge", "Graph", "Node", "Picture", "draw"]
