"""The rules of the pretended GPU: those of torch's own fake tensors, and what these do not know."""

import copy
import inspect
from types import SimpleNamespace

import numpy as np
import papermill
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from otad import scale

from .pretended_gpu import NAME, kernel_spec, pretended_gpu

MIXED = "Expected all tensors to be on the same device"


@pytest.fixture
def gpu():
    with pretended_gpu():
        yield torch.device("cuda")


def some_tensors(device):
    """Small tensors there: floats of two and of no dimensions, integers, booleans."""
    return SimpleNamespace(
        x=torch.full((3, 3), 0.5, device=device) + torch.eye(3, device=device),
        number=torch.tensor(0.5, device=device),
        i=torch.tensor([0, 2, 1], device=device),
        yes=torch.ones(3, 3, dtype=torch.bool, device=device),
    )


# Calls with tensors of the GPU, g, and of the CPU, c. Torch's fake tensors, which compute shapes and devices of CUDA on
# any machine, say what becomes of each.
CALLS = [
    lambda g, c: g.x + c.x,
    lambda g, c: c.x + g.number,
    lambda g, c: g.x + c.number,
    lambda g, c: c.number * g.number,
    lambda g, c: c.number**g.x,
    lambda g, c: g.x.add_(c.number),
    lambda g, c: c.x.add_(g.number),
    lambda g, c: c.x.mul_(g.x),
    lambda g, c: c.x.copy_(g.x),
    lambda g, c: g.x.copy_(c.x),
    lambda g, c: torch.add(g.x, g.x, out=c.x),
    lambda g, c: torch.add(c.x, c.x, out=g.x),
    lambda g, c: g.x[c.i],
    lambda g, c: g.x[g.i, c.i],
    lambda g, c: g.x[1:, c.i],
    lambda g, c: g.x.index_select(0, c.i),
    lambda g, c: g.x.gather(0, c.i[None]),
    lambda g, c: g.x.take(c.i),
    lambda g, c: g.x.index_add(0, c.i, c.x),
    lambda g, c: g.x.index_fill(0, c.i, 1.0),
    lambda g, c: g.x.index_fill(0, g.i, c.number),
    lambda g, c: g.x.index_put((c.i,), c.x),
    lambda g, c: g.x.index_put((c.i,), g.x),
    lambda g, c: g.x.index_put((c.i,), c.number),
    lambda g, c: g.x.__setitem__(0, c.x[0]),
    lambda g, c: g.x.__setitem__(c.i, c.x),
    lambda g, c: g.x.__setitem__(c.i, c.number),
    lambda g, c: g.x.__setitem__([0, 1], c.x[:2]),
    lambda g, c: c.x.__setitem__(slice(2), g.x[:2]),
    lambda g, c: c.x.__setitem__(c.i, g.x),
    lambda g, c: c.x.__setitem__(c.i, g.number),
    lambda g, c: torch.cat([g.x, c.x]),
    lambda g, c: torch.stack([g.x, c.x]),
    lambda g, c: torch.stack([g.x, g.x]),
    lambda g, c: g.x @ c.x,
    lambda g, c: F.linear(c.x, g.x),
    lambda g, c: F.conv2d(c.x[None, None], g.x[None, None]),
    lambda g, c: F.conv2d(g.x[None, None], g.x[None, None], c.x[0, :1]),
    lambda g, c: F.batch_norm(g.x, c.x[0], c.x[0]),
    lambda g, c: F.mse_loss(g.x, c.x),
    lambda g, c: F.cross_entropy(g.x, c.i),
    lambda g, c: F.embedding(c.i, g.x),
    lambda g, c: F.one_hot(g.i, 3),
    lambda g, c: F.interpolate(g.x[None, None], (5, 5), mode="bilinear", align_corners=False),
    lambda g, c: F.pad(g.x, (1, 1)),
    lambda g, c: torch.where(g.yes, g.x, c.number),
    lambda g, c: torch.where(g.yes, g.x, c.x),
    lambda g, c: torch.where(c.yes, g.x, g.x),
    lambda g, c: g.x.masked_fill(c.yes, 0),
    lambda g, c: g.x.masked_fill(g.yes, c.number),
    lambda g, c: g.x.clamp(min=c.number),
    lambda g, c: g.x.fill_(c.number),
    lambda g, c: torch.maximum(g.x, c.number),
    lambda g, c: torch.lerp(g.x, c.x, 0.5),
    lambda g, c: torch.cdist(g.x, c.x),
    lambda g, c: torch.einsum("ij,jk->ik", g.x, c.x),
    lambda g, c: torch.searchsorted(g.x, c.x),
    lambda g, c: torch.isin(g.x, c.x),
    lambda g, c: torch.linalg.solve(g.x, c.x),
    lambda g, c: torch.linalg.eigh(g.x)[1],
    lambda g, c: torch.cartesian_prod(g.x[0], c.x[0]),
    lambda g, c: torch.kron(g.x, c.x),
    lambda g, c: torch._foreach_add([g.x], [c.x])[0],
    lambda g, c: torch._foreach_add([g.x, g.x], 1.0)[1],
    lambda g, c: g.x.sort(dim=1).values,
    lambda g, c: g.x.max(dim=1).indices,
    lambda g, c: g.x.split(2)[1] + 0,
    lambda g, c: g.x.T.reshape(9),
    lambda g, c: g.x.view_as(c.x) + 0,
    lambda g, c: g.x.type_as(c.x),
    lambda g, c: c.x.to(g.x),
    lambda g, c: g.x.to(c.i),
    lambda g, c: g.x.double(),
    lambda g, c: g.x.cpu(),
    lambda g, c: c.x.cuda(),
    lambda g, c: c.x.to("cuda", torch.float64),
    lambda g, c: g.x.to(torch.float64),
    lambda g, c: g.x.to(device="cpu", dtype=torch.float64),
    lambda g, c: g.x.new_zeros(2),
    lambda g, c: g.x.new_tensor([1.0, 2.0]),
    lambda g, c: c.x.new_zeros(2, device="cuda"),
    lambda g, c: torch.zeros_like(g.x),
    lambda g, c: torch.zeros_like(g.x, device="cpu"),
    lambda g, c: torch.rand_like(g.x),
    lambda g, c: torch.arange(3, device="cuda") + c.number,
    lambda g, c: torch.eye(3, device="cuda")[0],
    lambda g, c: torch.tensor([1.0, 2.0], device="cuda"),
    lambda g, c: torch.tensor([1.0, 2.0]),
    lambda g, c: torch.as_tensor(g.x),
    lambda g, c: torch.as_tensor(c.x, device="cuda"),
    lambda g, c: torch.as_tensor(np.ones(3), device="cuda"),
    lambda g, c: nn.Parameter(g.x),
    lambda g, c: g.x.detach().clone(),
    lambda g, c: nn.Linear(3, 3, device="cuda")(g.x),
    lambda g, c: nn.Linear(3, 3)(g.x),
    lambda g, c: nn.Linear(3, 3).to("cuda")(g.x),
    lambda g, c: nn.Linear(3, 3).to(g.x)(g.x),
    lambda g, c: nn.Linear(3, 3).to("cuda").cpu()(c.x),
]


def outcome(call):
    """The device of what a call returns, "refused", or None where it returns no tensor."""
    g, c = some_tensors("cuda"), some_tensors("cpu")
    try:
        result = call(g, c)
    except RuntimeError:
        return "refused"
    return result.device.type if isinstance(result, torch.Tensor) else None


@pytest.mark.parametrize("call", CALLS, ids=lambda call: inspect.getsource(call).strip()[13:-1])
def test_devices_are_those_of_torchs_fake_tensors(call):
    with FakeTensorMode(allow_non_fake_inputs=True):
        expected = outcome(call)
    with pretended_gpu():
        assert outcome(call) == expected


# What fake tensors do not know ---------------------------------------------------------------------------


def test_there_is_a_gpu_inside_and_none_outside():
    there = torch.cuda.is_available()
    with pretended_gpu():
        assert scale.device() == torch.device("cuda")
        x = torch.ones(3, device=scale.device())
        assert (str(x.device), x.is_cuda, x.is_cpu, x.get_device()) == ("cuda:0", True, False, 0)
        assert torch.cuda.get_device_name() == NAME
        torch.cuda.synchronize()
        torch.manual_seed(0)
        with torch.random.fork_rng():
            pass
    assert torch.cuda.is_available() == there
    assert x.device.type == "cpu"


def test_the_message_names_the_devices(gpu):
    with pytest.raises(RuntimeError, match=f"{MIXED}, but found at least two devices, cuda:0 and cpu!"):
        torch.ones(3, device=gpu) + torch.ones(3)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.ones(3, device="cuda:1")


def test_values_are_the_cpus(gpu):
    x = torch.linspace(0, 1, 6, dtype=torch.float64).view(2, 3)
    assert (x.to(gpu) @ x.to(gpu).T).cpu().equal(x @ x.T)


def test_a_move_is_a_copy_and_a_stay_is_none(gpu):
    x = torch.zeros(2)
    y = x.to(gpu)
    y += 1
    y.cpu().add_(1)
    assert y.tolist() == [1, 1]
    assert x.tolist() == [0, 0]
    assert y.to(gpu) is y
    assert x.to("cpu") is x
    array = np.zeros(2)
    torch.as_tensor(array, device=gpu).add_(1)
    assert array.tolist() == [0, 0]


def test_numpy_cannot_see_it(gpu):
    x = torch.ones(2, device=gpu)
    for look in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.array([x[0]]), lambda: np.sqrt(x)):
        with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy"):
            look()
    assert x.cpu().numpy().tolist() == x.numpy(force=True).tolist() == [1, 1]
    assert torch.from_numpy(np.ones(2)).is_cpu


def test_numbers_can_be_read(gpu):
    x = torch.tensor([1.0, 2.0], device=gpu)
    assert (x[0].item(), float(x[1]), x.tolist(), int(x[1]), bool(x[0]), len(x)) == (1, 2, [1, 2], 2, True, 2)
    assert f"{x[1]:.1f}" == "2.0"
    assert [one.is_cuda for one in x] == [True, True]
    assert torch.tensor(list(x)).is_cpu  # numbers that were read
    assert [10, 20][torch.tensor(1, device=gpu)] == 20


def test_indices_on_the_gpu_do_not_fit_a_cpu_tensor(gpu):
    x, i = torch.arange(3), torch.tensor([0, 2], device=gpu)
    for use in (lambda: x[i], lambda: x[x.to(gpu) > 0], lambda: x.__setitem__(i, 0), lambda: x[None, i]):
        with pytest.raises(RuntimeError, match="indices should be either on cpu"):
            use()
    assert x[i[1]].is_cpu  # one number is read
    assert x.to(gpu)[x[1]].is_cuda


def test_generators_draw_on_their_own_device_only(gpu):
    for make in (torch.rand, torch.randn, torch.randperm, lambda n, **k: torch.randint(5, (n,), **k)):
        with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
            make(3, generator=torch.Generator(), device=gpu)
        with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
            make(3, generator=torch.Generator(gpu))
        assert make(3, generator=torch.Generator(gpu), device=gpu).is_cuda
    with pytest.raises(RuntimeError, match="for generator"):
        torch.ones(3, device=gpu).normal_(generator=torch.Generator())
    with pytest.raises(RuntimeError, match="for generator"):
        nn.init.uniform_(torch.ones(3, device=gpu), generator=torch.Generator())


def test_the_same_seed_draws_other_numbers_on_the_gpu(gpu):
    def draw(device):
        return torch.rand(4, generator=torch.Generator(device).manual_seed(3), device=device).tolist()

    assert draw("cpu") == torch.rand(4, generator=torch.Generator().manual_seed(3)).tolist() != draw(gpu)
    assert draw(gpu) == draw(gpu)


def test_a_device_as_context(gpu):
    with gpu:
        assert torch.zeros(3).is_cuda
        assert torch.tensor(1.0).is_cuda
        assert torch.zeros(3, device="cpu").is_cpu
    assert torch.zeros(3).is_cpu


def test_what_has_the_same_storage_has_the_same_device(gpu):
    x = torch.ones(3, 3, device=gpu, requires_grad=True)
    for same in (x.detach(), x.data, x[0], x.T, x.view(9), x.unbind()[1], x.expand(2, 3, 3), x.diagonal()):
        assert same.is_cuda
    assert copy.deepcopy(x).is_cuda
    assert copy.copy(x).is_cuda
    cpu = nn.Parameter(torch.ones(2))
    cpu.data = torch.zeros(2, device=gpu)
    assert cpu.is_cuda


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 1))


def test_modules_move_with_their_gradients_and_buffers(gpu):
    model, x = net(), torch.rand(4, 1, 5, 5)
    model(x).sum().backward()
    model.to(gpu)
    assert all(t.is_cuda for t in model.state_dict().values())
    assert all(p.grad.is_cuda and p.is_leaf for p in model.parameters())
    assert model(x.to(gpu)).is_cuda
    with pytest.raises(RuntimeError, match=MIXED):
        model(x)
    assert all(p.grad.is_cpu for p in model.cpu().parameters())
    assert model(x).is_cpu


def test_copies_of_modules_stay_and_loaded_weights_go_where_the_module_is(gpu):
    model = net().to(gpu)
    twin = copy.deepcopy(model)
    assert all(t.is_cuda for t in twin.state_dict().values())
    other = net()
    other.load_state_dict(model.state_dict())
    model.load_state_dict(net().state_dict())
    assert all(t.is_cpu for t in other.state_dict().values())
    assert all(t.is_cuda for t in model.state_dict().values())


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_optimisers_step_to_the_cpus_values(optimiser, gpu):
    def trained(device):
        model, x = net().to(device), torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(1))
        steps = optimiser(model.parameters(), lr=0.01)
        for _ in range(3):
            loss = model(x.to(device)).square().mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
        return model

    found, expected = trained(gpu), trained("cpu")
    for a, b in zip(found.parameters(), expected.parameters(), strict=True):
        assert (a.is_cuda, a.grad.is_cuda, b.grad.is_cuda) == (True, True, False)
        torch.testing.assert_close(a.cpu(), b, rtol=1e-5, atol=1e-6)


def test_gradients_are_where_their_tensors_are(gpu):
    cpu = torch.ones(2, requires_grad=True)
    there = torch.ones(2, device=gpu, requires_grad=True)
    given = torch.autograd.grad((cpu.to(gpu) * there).sum(), [cpu, there])
    assert [g.device.type for g in given] == ["cpu", "cuda"]
    (cpu.to(gpu) * there).sum().backward()
    assert (cpu.grad.is_cpu, there.grad.is_cuda) == (True, True)
    with pytest.raises(RuntimeError):
        there.grad = torch.zeros(2)


class Doubled(torch.autograd.Function):
    """Twice the input, and the devices that its backward has seen."""

    seen: list[str] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        Doubled.seen += [gradient.device.type, ctx.saved_tensors[0].device.type]
        return gradient + torch.ones(2, device=gradient.device)


def test_custom_functions_and_hooks_see_gradients_on_the_gpu(gpu):
    x = torch.ones(2, device=gpu, requires_grad=True)
    y = Doubled.apply(x)
    y.register_hook(lambda gradient: Doubled.seen.append(gradient.device.type))
    y.sum().backward()
    assert Doubled.seen == ["cuda"] * 3
    assert x.grad.tolist() == [2, 2]


def test_hooks_are_watched(gpu):
    x = torch.ones(2, device=gpu, requires_grad=True)
    x.register_hook(lambda gradient: gradient * torch.ones(2))
    with pytest.raises(RuntimeError, match=MIXED):
        x.sum().backward()


def test_optimal_transport_of_pot_runs_on_it(gpu):
    import ot

    weights, cost = torch.full((3,), 1 / 3, device=gpu), torch.rand(3, 3).to(gpu)
    plan = ot.emd(weights, weights, cost)
    assert plan.is_cuda
    assert ot.sinkhorn(weights, weights, cost, 0.1).is_cuda


def test_a_kernel_computes_on_it_from_its_first_cell(tmp_path, monkeypatch):
    import nbformat

    source = "import torch\nfrom otad import scale\nprint(torch.ones(1, device=scale.device()).device)"
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    done = papermill.execute_notebook(
        page, None, kernel_name=kernel_spec(tmp_path), language="python", progress_bar=False
    )
    assert done.cells[0].outputs[0].text == "cuda:0\n"


def test_shapes_without_numbers_are_on_neither_device(gpu):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).eval().to("meta")
    x = net(torch.empty(1, 3, 7, 9, device="meta"))
    assert (x.device.type, x.shape) == ("meta", (1, 5, 5, 7))
    assert torch.ones(2).to(x).is_meta
    assert not torch.ones(2, device=gpu).is_meta
