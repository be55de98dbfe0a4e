"""`otad.methods.matching.patch_statistics` under the shorter name that readers and other people's code know."""

from otad.methods.matching.patch_statistics import histogram, moments, sample_weighted_wasserstein

__all__ = ["histogram", "moments", "sample_weighted_wasserstein"]
