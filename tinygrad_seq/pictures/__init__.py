"""Pictures of tapes: `draw(loss).save("loss.svg")`, and the graph behind them as plain data."""

from tinygrad_seq.pictures.drawing import draw
from tinygrad_seq.pictures.model import Edge, Graph, Node
from tinygrad_seq.pictures.picture import Picture

__all__ = ["Edge", "Graph", "Node", "Picture", "draw"]
