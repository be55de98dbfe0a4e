"""`otad.methods.matching.fca` under the shorter name that readers and other people's code know."""

from otad.methods.matching.fca import FCA, patch_weights

__all__ = ["FCA", "patch_weights"]
