"""From a tape to a graph: nodes, boxes and edges with their labels and numbers, as plain data."""
