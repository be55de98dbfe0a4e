"""Maps of a vision transformer, one for each block asked for; its weights come with the library timm, an optional extra."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from otad.features import check_images


class VisionTransformer(nn.Module):
    """A frozen transformer of timm: images (N,3,H,W) in [0,1] → maps (N,C,H/p,W/p) of tokens, one a block, without those of the class.

    The normalisation its weights expect is inside. Raises ValueError for bad images and sides that are no multiple of the patch's.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, name: str, weights: str, blocks: Sequence[int]) -> None:
        """Wrap a model; blocks count from 1."""
        super().__init__()
        self.name, self.weights, self.blocks = name, weights, tuple(blocks)
        self.model: Any = model.eval().requires_grad_(False)
        self.patch_size, self.channels = (
            int(model.patch_embed.patch_size[0]),
            (int(model.embed_dim),) * len(self.blocks),
        )
        for key in ("mean", "std"):
            value = torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1)
            self.register_buffer(key, value, persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map a block, in the order of the blocks."""
        check_images(images)
        if any(side % self.patch_size for side in images.shape[-2:]):
            raise ValueError(
                f"images are {tuple(images.shape[-2:])}: expected sides that are multiples of {self.patch_size}, the patch of {self.name}; resize them."
            )
        return list(
            self.model.forward_intermediates(
                (images - self.mean) / self.std,
                indices=[block - 1 for block in self.blocks],
                output_fmt="NCHW",
                intermediates_only=True,
            )
        )


def vision_transformer(
    blocks: Sequence[int] = (3, 6, 9, 12),
    device: torch.device | str | None = None,
    name: str = "vit_small_patch16_224.dino",
    pretrained: bool = True,
    sha256: str | None = None,
) -> VisionTransformer:
    """Build a transformer of timm; the default is ViTAD's teacher, DINO's ViT-S/16.

    blocks : numbers from 1, ascending. pretrained : fetch its weights unless a cache has them; False = random from seed 0, for tests.
    sha256 : what the hash of the weights must begin with; it is told in `weights`.

    Raises ValueError without the library timm, for a name that it does not know, blocks that are not there, and another hash.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError(
            "vision transformers come with the library timm, which is not installed: run pip install 'otad[vit]', or pass a network of your own."
        ) from error
    if name not in timm.list_pretrained("vit_*"):
        raise ValueError(
            f"timm has no transformer {name!r} with weights: expected one such as vit_small_patch16_224.dino."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = timm.create_model(name, pretrained=pretrained, dynamic_img_size=True)
        except (OSError, RuntimeError) as error:  # no network, no cache
            raise ValueError(
                f"the weights of {name} cannot be loaded: {error}. Fetch them once with a network, or name a folder that has them in HF_HOME."
            ) from error
    depth = len(list(model.get_submodule("blocks").children()))
    if not blocks or list(blocks) != sorted(set(blocks)) or not 1 <= min(blocks) <= max(blocks) <= depth:
        raise ValueError(f"blocks are {tuple(blocks)}: expected numbers from 1 to {depth}, ascending.")
    digest = _digest(model)
    if sha256 is not None and not digest.startswith(sha256):
        raise ValueError(
            f"the weights of {name} have SHA-256 {digest}, expected {sha256}: they are another version."
        )
    label = f"{name if pretrained else 'random, seed 0'} sha256:{digest[:8]}"
    return VisionTransformer(model, name, label, blocks).to(device)


def _digest(model: nn.Module) -> str:
    """Return the SHA-256 of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
