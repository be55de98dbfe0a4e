"""Optimal transport for visual anomaly detection: the code behind *Matter Out of Place*."""

__version__ = "0.1.0"
