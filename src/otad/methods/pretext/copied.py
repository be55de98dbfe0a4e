"""A copy of a network that learns as a whole, or stays as it is below a head that learns."""

from __future__ import annotations

import copy
from typing import Self

from torch import nn

from otad.features.pretrained import Backbone


class Copied(nn.Module):
    """A module around a copy of a backbone."""

    def __init__(self, backbone: Backbone, frozen: bool) -> None:
        """Copy the backbone; a frozen one keeps weights and statistics."""
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(not frozen)
        self.frozen = frozen

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self
