"""From a tape to a graph: nodes, boxes, edges and what they show, as plain data."""
