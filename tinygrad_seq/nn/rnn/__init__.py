"""Recurrent layers: cells, layers, the loop over time, states and initial weights."""
