"""Recurrent layers: gates, cells, the loop over time, and the states that are carried through it."""
