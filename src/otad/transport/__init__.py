"""Transport plans and costs from arrays: on a line by sorting, on a cost matrix by Sinkhorn's iterations or by conditional plans."""

from otad.transport.conditional import ConditionalPlan, chamfer, conditional_transport, nearest_plan
from otad.transport.entropic import Coupling, RowBlocks, hard_plan, sinkhorn
from otad.transport.line import Ties, matching_errors, share_ties, wasserstein_1d
from otad.transport.navigators import Embedding, Navigator, PairNetwork, Scaled, learn, pairwise

__all__ = [
    "ConditionalPlan",
    "Coupling",
    "Embedding",
    "Navigator",
    "PairNetwork",
    "RowBlocks",
    "Scaled",
    "Ties",
    "chamfer",
    "conditional_transport",
    "hard_plan",
    "learn",
    "matching_errors",
    "nearest_plan",
    "pairwise",
    "share_ties",
    "sinkhorn",
    "wasserstein_1d",
]
