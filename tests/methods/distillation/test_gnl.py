from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from otad.data.packaged import solar
from otad.features.pretrained import efficientnet_lite0
from otad.methods.distillation.gnl import ALTER, GNL, OPERATIONS, augmix
from otad.methods.distillation.reverse_distillation import Student, gap
from otad.methods.distillation.teacher import efdm, teach
from otad.metrics import image_auroc, pixel_auroc

from .networks import tiny


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def detector(**changes):
    return GNL(tiny(), **({"width": 4, "epochs": 2, "batch_size": 4, "views": 2} | changes))


def pictures(n=7, height=24, width=40, seed=0):
    return rand(n, 3, height, width, seed=seed)


def weights(net):
    return torch.cat([p.detach().flatten().double() for p in net.state_dict().values()])


# EFDM --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_matched_values_are_the_mix_of_the_sorted_values_and_keep_their_order(alpha):
    features, reference = rand(2, 3, 5, 7), 4 + rand(1, 3, 5, 7, seed=1) ** 2
    found = efdm(features, reference, alpha).flatten(2)
    mix = (1 - alpha) * features.flatten(2).sort(2).values + alpha * reference.flatten(2).sort(2).values
    torch.testing.assert_close(found.sort(2).values, mix)
    assert torch.equal(found.argsort(2), features.flatten(2).argsort(2))


def test_matching_by_hand():
    features = torch.tensor([[[[3.0, 1.0, 2.0]]]])
    reference = torch.tensor([[[[10.0, 30.0, 20.0]]]])
    assert efdm(features, reference, 1.0).flatten().tolist() == [30, 10, 20]
    assert efdm(features, reference, 0.5).flatten().tolist() == [16.5, 5.5, 11]


def test_a_picture_matched_to_itself_stays_what_it_is():
    features = rand(1, 3, 5, 7)
    torch.testing.assert_close(efdm(features, features, 0.7), features)
    assert torch.equal(efdm(features, rand(1, 3, 5, 7, seed=1), 0.0), features)


def test_matching_undoes_a_monotone_change_of_values_completely():
    reference = rand(1, 3, 5, 7)
    torch.testing.assert_close(efdm(0.05 * reference + 0.4, reference, 1.0), reference)


@pytest.mark.parametrize(
    ("features", "reference", "alpha"),
    [((2, 3, 5, 7), (1, 3, 5, 6), 0.5), ((2, 3, 5, 7), (2, 3, 5, 7), 0.5), ((2, 3, 5, 7), (1, 3, 5, 7), 1.5)],
)
def test_what_cannot_be_matched_is_refused(features, reference, alpha):
    with pytest.raises(ValueError, match=r"expected \(N,C,h,w\), \(1,C,h,w\)"):
        efdm(rand(*features), rand(*reference), alpha)


# Teacher and student -----------------------------------------------------------------------------------------


def test_the_teacher_without_references_is_the_backbone_whatever_the_batch():
    net, images = tiny(), pictures(19)
    for found, wanted in zip(teach(net, images), net(images), strict=True):
        torch.testing.assert_close(found, wanted)


def test_matched_maps_are_sent_on_and_the_deepest_is_left_alone():
    net, images = tiny(), pictures(3)
    references = net(pictures(1, seed=1))
    found = teach(net, images, references, 0.5)
    first = efdm(net(images)[0], references[0], 0.5)
    second = efdm(net.stages["4"](first), references[1], 0.5)
    for a, b in zip(found, [first, second, net.stages["8"](second)], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", [(24, 40), (17, 31)])
def test_the_student_gives_back_the_shapes_it_was_shown(size):
    maps = tiny()(pictures(2, *size))
    code, decoded = Student((5, 6, 7), (2, 4, 8), 4)(maps)
    assert [d.shape for d in decoded] == [m.shape for m in maps]
    assert code.shape == (2, 16, *(-(-side // 2) for side in maps[-1].shape[-2:]))


def test_the_gap_is_zero_for_the_same_maps_of_any_length_and_two_a_map_for_opposites():
    maps = [rand(2, 3, 5, 7) - 0.5, rand(2, 4, 3, 2) - 0.5]
    assert float(gap(maps, [3 * m for m in maps])) == pytest.approx(0, abs=1e-6)
    assert float(gap(maps, [-m for m in maps])) == pytest.approx(4)


# Altered views -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALTER)
def test_an_operation_gives_pictures_and_leaves_its_input(name):
    image = rand(3, 13, 17)
    kept = image.clone()
    found = augmix(image[None], [name], np.random.default_rng(0))[0]
    assert found.shape == image.shape
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not torch.equal(found, image)
    assert torch.equal(image, kept)


def test_some_operations_by_hand():
    image = torch.tensor([0.2, 0.4, 0.6]).view(1, 1, 3).expand(3, 1, 3)

    def row(name, level):
        return ALTER[name](image, level)[0, 0].tolist()

    assert row("autocontrast", 1) == pytest.approx([0, 0.5, 1])
    assert row("equalize", 1) == pytest.approx([1 / 3, 2 / 3, 1])
    assert row("solarize", 5) == pytest.approx([0.2, 0.4, 0.4])
    assert row("contrast", 0) == pytest.approx([0.38, 0.4, 0.42])
    assert row("brightness", 5) == pytest.approx([0.2, 0.4, 0.6])
    assert row("posterize", 3) == pytest.approx([0.125, 0.375, 0.5])
    assert row("color", 2) == pytest.approx([0.2, 0.4, 0.6])  # grey has no colour to lose
    flat = torch.full((3, 4, 4), 0.3)
    for name in set(ALTER) - {"equalize", "posterize", "solarize", "brightness"}:
        torch.testing.assert_close(ALTER[name](flat, 2.0), flat)


def test_no_operations_no_change_and_no_consistency_loss():
    images = pictures()
    assert torch.equal(augmix(images, (), np.random.default_rng(0)), images)
    pulled = [p for _, p in detector(operations=()).fit(images).losses_]
    assert max(pulled) < 1e-5
    altered = [p for _, p in detector().fit(images).losses_]
    assert min(altered) > 1e-4


def test_contrast_and_brightness_are_not_among_the_authors_operations():
    assert set(ALTER) - set(OPERATIONS) == {"contrast", "brightness"}


# The detector ------------------------------------------------------------------------------------------------


def test_training_and_scoring_leave_the_teacher_the_images_and_the_global_generator():
    gnl, images = detector(), pictures()
    before, kept = weights(gnl.backbone), images.clone()
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    gnl.fit(images).score(images)
    assert torch.equal(weights(gnl.backbone), before)
    assert torch.equal(images, kept)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(p.requires_grad for p in gnl.student_.parameters())


def test_the_same_seed_gives_the_same_scores_and_another_seed_others():
    images = pictures()
    a, b, c = (detector(seed=s).fit(images).score(images).maps for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_scores_do_not_depend_on_the_batch():
    gnl, images = detector().fit(pictures()), pictures(19, seed=1)
    together = gnl.score(images)
    alone = torch.cat([gnl.score(image[None]).maps for image in images])
    torch.testing.assert_close(together.maps, alone, rtol=1e-4, atol=1e-5)
    assert together.maps.shape == (19, 24, 40)
    assert torch.equal(together.image_scores, together.maps.amax((1, 2)))


def test_maps_are_cosine_distances_summed_over_stages():
    gnl, images = detector(match=False, sigma=None).fit(pictures()), pictures(2, seed=1)
    maps = gnl.backbone(images)
    _, decoded = gnl.student_(maps)
    expected = torch.zeros(2, 24, 40)
    for m, d in zip(maps, decoded, strict=True):
        cosine = (m * d).sum(1) / (m.norm(dim=1) * d.norm(dim=1))
        expected += nn.functional.interpolate((1 - cosine)[:, None], (24, 40), mode="bilinear")[:, 0]
    torch.testing.assert_close(gnl.score(images).maps, expected)


def test_alpha_zero_is_no_matching():
    gnl, images = detector().fit(pictures()), pictures(3, seed=1)
    gnl.alpha = 0.0
    matched = gnl.score(images).maps
    gnl.match = False
    torch.testing.assert_close(matched, gnl.score(images).maps)


def test_distillation_gets_better():
    losses = [d for d, _ in detector(epochs=30, consistency=False).fit(pictures()).losses_]
    assert losses[-1] < 0.5 * losses[0]


@pytest.fixture(scope="module")
def cells():
    kinds = ["good"] * 4 + ["hole"] * 4
    return solar.planted("mono", 64, 24, kinds, seed=0)


@pytest.mark.parametrize("new", [{"consistency": False, "match": False}, {}])
def test_planted_defects_are_found(cells, new):
    gnl = GNL(efficientnet_lite0(), width=16, epochs=8, views=1, **new).fit(cells.train)
    scores = gnl.score(cells.test)
    assert image_auroc(scores.image_scores, cells.labels) > 0.9
    assert pixel_auroc(scores.maps, cells.masks) > 0.9


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operations": ("blur",)}, "unknown operation 'blur'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"alpha": 2}, "alpha is 2"),
        ({"weight": 0.5}, "weight 0.5"),
        ({"lr": 0.0}, "lr 0.0"),
    ],
)
def test_settings_without_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        detector(**settings)


def test_one_stage_is_not_enough():
    with pytest.raises(ValueError, match="reverse distillation needs two"):
        GNL(tiny(strides=(4,)))


def test_scoring_needs_fitting_and_both_need_images():
    with pytest.raises(ValueError, match="call fit"):
        detector().score(pictures())
    for bad in (pictures()[0], 255 * pictures(), pictures()[:0]):
        with pytest.raises(ValueError, match="expected"):
            detector().fit(bad)


def test_matching_needs_the_training_pictures_size_and_reverse_distillation_does_not():
    gnl = detector().fit(pictures())
    with pytest.raises(ValueError, match="training pictures' size"):
        gnl.score(pictures(2, 32, 40))
    gnl.match = False
    assert gnl.score(pictures(2, 32, 40)).maps.shape == (2, 32, 40)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(FloatingPointError, match="lower lr"):
        detector(lr=1e38, epochs=20).fit(pictures())


def test_teach_works_as_a_backbone():
    net = tiny()
    matched = partial(teach, net, references=net(pictures(1)), alpha=1.0)
    assert [m.shape[1] for m in matched(pictures(2))] == [5, 6, 7]
