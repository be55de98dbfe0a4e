"""Readers of your own copies of data sets; no pixel of them is ever redistributed."""
