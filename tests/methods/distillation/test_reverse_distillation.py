import pytest
import torch
from scipy.ndimage import gaussian_filter

from otad.methods import GNL, ReverseDistillation, load, save
from otad.methods.distillation.reverse_distillation import Mirror, cosine_map, flattened_gap, gap

from .networks import found, golden, levels, odd, pictures, tiny, weights

small = {"epochs": 3, "batch_size": 4, "width": 4}
SIZE = (32, 48)  # the paper's student wants multiples of twice the deepest stride


@pytest.fixture(scope="module")
def values():
    g = golden("distillation")
    return g, levels(g, "teacher", 3), levels(g, "student", 3)


def test_the_paper_s_loss_and_the_code_s_are_two(values):
    g, taught, learnt = values
    assert float(gap(taught, learnt)) == pytest.approx(float(g["rd_loss_place_by_place"]), rel=1e-4)
    assert float(flattened_gap(taught, learnt)) == pytest.approx(float(g["rd_loss_flattened"]), rel=1e-4)
    assert float(gap(taught, learnt) - flattened_gap(taught, learnt)) > 0.03


@pytest.mark.parametrize("combine", ["add", "multiply"])
def test_maps_are_those_of_public_code(values, combine):
    g, taught, learnt = values
    expected = g[f"rd_map_{combine}_sigma4"]
    maps = cosine_map(taught, learnt, tuple(expected.shape[1:]), combine)
    smoothed = torch.stack(
        [torch.from_numpy(gaussian_filter(m.numpy(), sigma=4, mode="mirror")) for m in maps]
    )
    torch.testing.assert_close(smoothed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [gap, flattened_gap])
def test_losses_do_not_mind_how_long_the_student_s_vectors_are(values, loss):
    _, taught, learnt = values
    torch.testing.assert_close(loss(taught, [7 * m for m in learnt]), loss(taught, learnt))
    assert float(loss(taught, taught)) == pytest.approx(0, abs=1e-6)


def test_the_paper_s_student_has_the_code_s_size():
    """The decoder has 24.9 million parameters; the squeeze 58.9, as blocks are wide in the code, or 30.8 in anomalib, where they are not.

    Both keep a convolution of 8.4 million beside it that nothing calls.
    """
    with torch.device("meta"):
        wide, narrow = (Mirror((256, 512, 1024), share=share) for share in (0.5, 0.25))
    decoder = sum(p.numel() for p in wide.rise.parameters())
    squeezes = [
        sum(p.numel() for part in (net.down, net.squeeze) for p in part.parameters())
        for net in (wide, narrow)
    ]
    assert round(decoder / 1e6, 1) == 24.9
    assert [round(n / 1e6, 1) for n in squeezes] == [58.9, 30.8]
    unused = 4096 * 2048 + 2 * 2048
    assert round((squeezes[1] + unused) / 1e6, 1) == 39.2


def test_the_paper_s_student_gives_back_the_shapes_it_was_shown():
    maps = tiny()(pictures(2, size=SIZE))
    code, rebuilt = Mirror((5, 6, 7))(maps)
    assert [m.shape for m in rebuilt] == [m.shape for m in maps]
    assert code.shape == (2, 14, 2, 3)


def test_learning_lowers_the_loss_and_finds_what_is_odd():
    method = ReverseDistillation(tiny(), width=6, epochs=20, batch_size=4, sigma=2.0).fit(pictures(12))
    assert len(method.losses_) == 20
    assert method.losses_[-1] < 0.5 * method.losses_[0]
    scores = method.score(odd())
    assert scores.maps.shape == (2, 24, 40)
    assert float(scores.image_scores[1]) > float(scores.image_scores[0])
    assert found(scores.maps)


def test_the_paper_s_student_learns_what_a_teacher_with_relu_shows():
    teacher = tiny()
    for part in teacher.stages.values():
        part[2] = torch.nn.ReLU()
    method = ReverseDistillation(teacher, epochs=15, batch_size=4, lr=0.02).fit(pictures(8, size=SIZE))
    assert method.losses_[-1] < 0.7 * method.losses_[0]


def test_gnl_without_its_two_additions_judges_the_same():
    gnl = GNL(tiny(), consistency=False, match=False, width=4, epochs=1).fit(pictures(6))
    method = ReverseDistillation(tiny(), **small, align_corners=False)
    method.student_ = gnl.student_
    torch.testing.assert_close(method.score(odd()).maps, gnl.score(odd()).maps)


def test_the_teacher_is_never_changed():
    method = ReverseDistillation(tiny(), **small)
    before = weights(method.backbone)
    method.fit(pictures(6)).score(odd())
    assert torch.equal(weights(method.backbone), before)
    assert not method.backbone.training


@pytest.mark.parametrize("loss", ["places", "flattened"])
def test_the_same_seed_learns_the_same_and_pictures_stand_alone(loss):
    runs = [ReverseDistillation(tiny(), **small, loss=loss, seed=s).fit(pictures(6)) for s in (0, 0, 1)]
    assert runs[0].losses_ == runs[1].losses_ != runs[2].losses_
    both = odd()
    assert torch.equal(runs[0].score(both).maps[1:], runs[0].score(both[1:]).maps)


@pytest.mark.parametrize("width", [None, 4])
def test_what_was_learnt_is_saved_and_loaded_to_the_bit(width, tmp_path):
    method = ReverseDistillation(tiny(), epochs=1, width=width).fit(pictures(4, size=SIZE))
    save(method, tmp_path / "one")
    again = load(tmp_path / "one", tiny())
    assert torch.equal(again.score(odd(size=SIZE)).maps, method.score(odd(size=SIZE)).maps)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="call fit"):
        ReverseDistillation(tiny()).score(pictures(1))
    with pytest.raises(ValueError, match="epochs is 0"):
        ReverseDistillation(tiny(), epochs=0)
    with pytest.raises(ValueError, match="expected 'places'"):
        ReverseDistillation(tiny(), loss="both")
    with pytest.raises(ValueError, match="expected two or more, each twice"):
        ReverseDistillation(tiny((2, 8)))
    with pytest.raises(ValueError, match="multiples of 16"):
        ReverseDistillation(tiny()).fit(pictures(2))
    with pytest.raises(ValueError, match="loss is .* in epoch"):
        ReverseDistillation(tiny(), **{**small, "lr": 1e38, "epochs": 9}).fit(pictures(4))
