"""From a graph to the graph that is drawn: equal steps and blocks folded into one."""
