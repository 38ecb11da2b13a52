"""Ids of a text, in memory or in a file that is mapped."""
