"""anomalib's models with our feature maps in the place of their backbone's, and with the weights that ours began with."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from anomalib.models.components import KCenterGreedy
from anomalib.models.image.cflow.lightning_model import Cflow
from anomalib.models.image.cflow.torch_model import CflowModel
from anomalib.models.image.cflow.utils import cflow_head
from anomalib.models.image.fastflow.lightning_model import Fastflow
from anomalib.models.image.fastflow.loss import FastflowLoss
from anomalib.models.image.fastflow.torch_model import FastflowModel, create_fast_flow_block
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor, nn

from otad.methods import CFlow, FastFlow, PaDiM, PatchCore
from otad.methods.flows.couplings import Flow

PLACEHOLDER = "resnet18"  # a backbone that each model insists on building, and never uses here


class Looked:
    """Feature maps that were computed once, found by the pixels of their picture: the same for whoever asks, in whatever batch."""

    def __init__(self, images: Tensor, maps: Sequence[Tensor]) -> None:
        self.places = {_pixels(image): place for place, image in enumerate(images)}
        self.maps = list(maps)

    def __call__(self, images: Tensor) -> list[Tensor]:
        asked = [self.places[_pixels(image)] for image in images]
        return [m[asked] for m in self.maps]


def _pixels(image: Tensor) -> bytes:
    return image.numpy().tobytes()


class Named(nn.Module):
    """A `Looked` that answers as anomalib's feature extractors do: a dict by name, or a list without names."""

    def __init__(self, looked: Looked, named: bool = True) -> None:
        super().__init__()
        self.looked, self.named = looked, named
        self.names = [str(k) for k in range(len(looked.maps))]

    def forward(self, images: Tensor) -> dict[str, Tensor] | list[Tensor]:
        maps = self.looked(images)
        return dict(zip(self.names, maps, strict=True)) if self.named else maps


def padim(ours: PaDiM, images: Tensor, batch: int = 16) -> PadimModel:
    """Return their PaDiM, fitted to the same pictures and channels."""
    model = PadimModel(PLACEHOLDER, ["layer1"], pre_trained=False, n_features=1)
    model.feature_extractor = Named(ours.backbone)
    model.layers, model.idx = model.feature_extractor.names, ours.channels_
    fit_padim(model, images, batch)
    return model


def fit_padim(model: PadimModel, images: Tensor, batch: int = 16) -> None:
    """Fit their PaDiM, once more if it was."""
    _shown(model, images, batch)
    model.fit()
    model.eval()


def patchcore(
    ours: PatchCore, images: Tensor, seed: int, zeros: bool = True, batch: int = 16
) -> PatchcoreModel:
    """Return their PatchCore, fitted to the same pictures; zeros=False pools as ours, over the pixels that exist."""
    model = PatchcoreModel(["layer1"], PLACEHOLDER, pre_trained=False, num_neighbors=ours.b)
    model.feature_extractor = Named(ours.backbone)
    model.layers = model.feature_extractor.names
    model.feature_pooler = nn.AvgPool2d(ours.patch_size, 1, ours.patch_size // 2, count_include_pad=zeros)
    _shown(model, images, batch)
    torch.manual_seed(seed)
    model.subsample_embedding(ours.coreset_ratio)
    return model.eval()


def coreset(points: Tensor, share: float, seed: int) -> Tensor:
    """Return their greedy choice of a share of the points (N,C), without the projection that they always make."""
    torch.manual_seed(seed)
    return torch.tensor(
        KCenterGreedy(points[:, :, None], share).select_coreset_idxs()
    )  # three axes: as they are


def _shown(model: nn.Module, images: Tensor, batch: int) -> None:
    model.train()
    for part in images.split(batch):
        model(part)


def cflow(ours: CFlow, fibres: int = 64) -> CflowModel:
    """Return their CFlow with the weights that ours begins with; fibres: vectors at a time."""
    model = CflowModel(PLACEHOLDER, ["layer1"], pre_trained=False, fiber_batch_size=fibres)
    model.encoder, model.condition_vector = Named(ours.backbone), ours.positions
    model.pool_layers = model.anomaly_map_generator.pool_layers = model.encoder.names
    model.decoders = nn.ModuleList(
        cflow_head(ours.positions, ours.blocks, ours.clamp, channels) for channels in ours.channels_
    )
    for flow, head in zip(ours.build_flows(), model.decoders, strict=True):
        _copy(flow, head)
    return model


def train_cflow(model: CflowModel, images: Tensor, epochs: int, lr: float, seed: int) -> None:
    """Train as anomalib does, all pictures in one batch, by a rate that falls as ours; batches are drawn from the seed as ours are."""
    optimiser = Cflow.configure_optimizers(SimpleNamespace(model=model, learning_rate=lr))
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    step = SimpleNamespace(
        model=model, optimizers=lambda: optimiser, manual_backward=lambda loss: loss.backward(), log=nothing
    )
    torch.manual_seed(seed)
    for _ in range(epochs):
        Cflow.training_step(step, SimpleNamespace(image=images))
        plan.step()


def fastflow(ours: FastFlow, size: tuple[int, int], norms: Sequence[tuple[int, ...]] = ()) -> FastflowModel:
    """Return their FastFlow with the weights that ours begins with, on standardised maps.

    norms: shapes (C,h,w) of trainable layer norms on the maps as they are, which is how anomalib ships it; without them the maps are
    standardised as ours.
    """
    model = FastflowModel(size, PLACEHOLDER, pre_trained=False, flow_steps=1)
    pairs = zip(ours.backbone.maps, ours.mean_, ours.std_, strict=True)
    standard = [(m - mean) / std for m, mean, std in pairs]
    looked = Looked(torch.empty(0), ours.backbone.maps if norms else standard)
    looked.places = ours.backbone.places
    model.feature_extractor = Named(looked, named=False)
    model.norms = nn.ModuleList(nn.LayerNorm(shape) for shape in norms) or nn.ModuleList(
        nn.Identity() for _ in standard
    )
    only_three = ours.kernels != "three and one"
    assert not only_three, "kernels of 1 alone are not anomalib's"
    model.fast_flow_blocks = nn.ModuleList(
        create_fast_flow_block(list(m.shape[1:]), only_three, ours.hidden_ratio, ours.steps, ours.clamp)
        for m in standard
    )
    for flow, block in zip(ours.build_flows(), model.fast_flow_blocks, strict=True):
        _copy(flow, block)
    return model


def train_fastflow(model: FastflowModel, images: Tensor, epochs: int, batch: int, seed: int) -> None:
    """Train as anomalib does; batches are drawn from the seed as ours are."""
    step = SimpleNamespace(model=model, loss=FastflowLoss(), log=nothing)
    optimiser = Fastflow.configure_optimizers(step)
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=draw).split(batch):
            loss = Fastflow.training_step(step, SimpleNamespace(image=images[chosen]))["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()


def nothing(*_: object, **__: object) -> None:
    """Log nowhere."""


@torch.no_grad()
def _copy(flow: Flow, theirs: nn.Module) -> None:
    """Write the weights and permutations of our couplings into theirs."""
    for ours, block in zip(flow.couplings, theirs.module_list, strict=True):
        block.subnet.load_state_dict(ours.subnet.state_dict())
        block.global_scale.copy_(ours.global_scale.view_as(block.global_scale))
        block.global_offset.copy_(ours.global_offset.view_as(block.global_offset))
        places = torch.eye(len(ours.permutation))[ours.permutation]
        block.w_perm.copy_(places.view_as(block.w_perm))
        block.w_perm_inv.copy_(places.T.reshape(block.w_perm_inv.shape))
