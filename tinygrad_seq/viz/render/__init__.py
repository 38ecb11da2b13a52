"""From a graph to a file: DOT, SVG, text, colours."""
