"""A thousand calls of the public functions, each with one or more arguments spoilt: it works, or our own error says why not."""

import contextlib
import dis
import inspect
import random
import shutil
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import otad
from otad import metrics, transport
from otad.data import Dataset, annotations, check_images, doubtful, pair, resize
from otad.data.drawn import corruptions, defects, scenes, textures
from otad.data.packaged import photographs, solar
from otad.data.readers import fabrics, files, folders, loco, realiad
from otad.features import handcrafted
from otad.features.pretrained import Backbone
from otad.methods import Scores, nearest
from otad.methods import maps as maps_of
from otad.methods.distillation import gnl, teacher
from otad.methods.matching import aota, fca, patch_statistics, weathering
from otad.methods.matching import ranks as matching
from otad.methods.memory import patchcore, ttad
from otad.methods.prototypes import pradot
from otad.methods.reconstruction import maeday
from otad.methods.saliency import contrast as saliency

PACKAGE = str(Path(otad.__file__).parent)
CALLS = 1000
PATIENCE = 30  # seconds: a call that takes longer hangs; the first of a kernel has to compile it
Good = dict[str, Any]


# Good arguments -------------------------------------------------------------------------------------------


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def net(images: torch.Tensor) -> list[torch.Tensor]:
    return [F.avg_pool2d(images, side, ceil_mode=True) for side in (2, 4)]  # of pictures of any size


def tiny_backbone() -> Backbone:
    torch.manual_seed(0)
    stages: dict[int, nn.Module] = {
        2: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)),
        4: nn.Sequential(nn.Conv2d(4, 6, 3, 2, 1), nn.BatchNorm2d(6)),
    }
    return Backbone("tiny", "none", stages, (2, 4), (0.5,) * 3, (0.3,) * 3)


IMAGES, FEATURES = draw(2, 3, 20, 24), draw(3, 9, 11)
MASKS = torch.zeros(3, 13, 17, dtype=torch.bool)
MASKS[1, 2:5, 3:9] = True
PARTS = torch.stack([MASKS, MASKS.roll(6, 1)], dim=1)
LABELS = torch.tensor([False, True, False, True])
DEFECTS = [[], [metrics.Defect(MASKS[1], 10.0)], []]
PAINTED = {"backbone": net}
NOTE = annotations.Annotation(MASKS[1], 10.0, "cut")


def dataset(**changes: Any) -> Dataset:
    images = draw(3, 3, 16, 18)
    masks = torch.zeros(3, 16, 18, dtype=torch.bool)
    masks[1, 3:5, 4:9] = True
    fields = {"name": "toy", "train": images, "test": images, "masks": masks}
    fields |= {"labels": masks.flatten(1).any(1), "kinds": ["good", "cut", "good"], "licence": "MIT"}
    return Dataset(**(fields | changes))


def fitted(make: Callable[..., Any]) -> Callable[..., Any]:
    """Make a detector of its settings, fit it if it learns, and score."""

    def run(images: Any, **settings: Any) -> Any:
        detector = make(**settings)
        if hasattr(detector, "fit"):
            detector.fit(IMAGES)
        return detector.score(images)

    return run


def adapted(**settings: Any) -> Any:
    images = settings.pop("images")
    return ttad.TTAD(**settings).fit(IMAGES).adapt(images).score(IMAGES)


def table(root: Path) -> dict[str, tuple[Callable[..., Any], Good]]:
    """Every public function with arguments that it takes."""
    maps, scores = draw(3, 13, 17, seed=1), draw(4, seed=2)
    cost, cells = draw(7, 5), {"cell": "mono", "size": 32, "n_train": 1, "seed": 0, "designs": "shared"}
    counts = {"size": 16, "n_train": 1, "n_good": 1, "n_per_defect": 1, "defects": ("cut", "hole"), "seed": 0}
    small = {"images": draw(2, 3, 24, 26)}
    matched = {
        "features": FEATURES,
        "reference": "median",
        "n_references": 1,
        "k": None,
        "ties": "mean",
        "seed": 0,
    }
    sww = matched | {"patch_size": 3, "sigma": 2.0}
    return {
        # metrics
        "saturation_area": (metrics.saturation_area, {"area": 30, "saturation": 0.5, "relative": True}),
        "pixel_auroc": (metrics.pixel_auroc, {"maps": maps, "masks": MASKS}),
        "image_auroc": (metrics.image_auroc, {"scores": scores, "labels": LABELS}),
        "average_precision": (metrics.average_precision, {"scores": scores, "labels": LABELS}),
        "f1_max": (metrics.f1_max, {"scores": scores, "labels": LABELS}),
        "aupro": (metrics.aupro, {"maps": maps, "masks": MASKS, "limit": 0.3}),
        "auspro": (metrics.auspro, {"maps": maps, "defects": DEFECTS, "limit": 0.3}),
        "pro_curve": (metrics.pro_curve, {"maps": maps, "masks": MASKS}),
        "spro_curve": (metrics.spro_curve, {"maps": maps, "defects": DEFECTS}),
        "Defect": (metrics.Defect, {"mask": MASKS[1], "saturation_area": 3.0}),
        # transport
        "matching_errors": (
            transport.matching_errors,
            {"values": draw(4, 7), "reference": draw(4, 5).sort().values, "ties": "mean"},
        ),
        "wasserstein_1d": (transport.wasserstein_1d, {"x": draw(4, 7), "y": draw(4, 5)}),
        "share_ties": (transport.share_ties, {"errors": draw(4, 7), "ranked": draw(4, 7).sort().values}),
        "sinkhorn": (
            transport.sinkhorn,
            {"cost": cost, "reg": 0.1, "a": torch.ones(7) / 7, "b": torch.ones(5) / 5, "tol": 1e-3, "max_iter": 20},
        ),
        "hard_plan": (transport.hard_plan, {"plan": cost}),
        # data
        "check_images": (check_images, {"images": IMAGES, "name": "images", "smallest": 4}),
        "pair": (pair, {"size": (20, 30), "least": 16}),
        "resize": (resize, {"images": IMAGES, "size": (9, 7)}),
        "Dataset": (dataset, {f: getattr(dataset(), f) for f in ("name", "train", "test", "masks", "labels", "kinds", "licence")}),
        "corrupt": (corruptions.corrupt, small | {"kind": "contrast", "severity": 3, "seed": 1, "levels": 256}),
        "gaussian_noise": (corruptions.gaussian_noise, small | {"severity": 5, "seed": 0}),
        "defocus_blur": (corruptions.defocus_blur, small | {"severity": 2}),
        "brightness": (corruptions.brightness, small | {"severity": 1}),
        "contrast": (corruptions.contrast, small | {"severity": 4}),
        "plant": (defects.plant, {"image": draw(3, 20, 24), "kind": "hole", "seed": [0, 3]}),
        "damage": (defects.damage, {"images": list(draw(2, 3, 20, 24)), "kinds": ["good", "cut"], "seed": [0, 1]}),
        "kinds_of_test": (defects.kinds_of_test, {k: v for k, v in counts.items() if k not in ("size", "seed")}),
        "plant_two": (doubtful.plant_two, {"image": draw(3, 40, 44), "kinds": ["cut", "hole"], "seed": [0, 3], "gap": 2.0, "least": 0.01}),
        "two_defects": (doubtful.two_defects, {"images": draw(2, 3, 40, 44), "seed": [0, 1], "gap": 2.0, "least": 0.01, "kinds": ["cut", "hole"]}),
        "exact": (doubtful.exact, {"parts": PARTS}),
        "unmarked": (doubtful.unmarked, {"parts": PARTS, "missing": torch.tensor([-1, 0, 1])}),
        "dilated": (doubtful.dilated, {"parts": PARTS, "by": 2.0}),
        "boxes": (doubtful.boxes, {"parts": PARTS}),
        "hulls": (doubtful.hulls, {"parts": PARTS, "by": 1.0}),
        "in_turns": (doubtful.in_turns, {"first": MASKS, "second": MASKS.roll(1, 2)}),
        "called_good": (doubtful.called_good, {"masks": MASKS, "pictures": torch.tensor([1])}),
        "textures.render": (textures.render, {"name": "tile", "size": 16, "seed": 0}),
        "textures.load": (textures.load, counts | {"name": "tile"}),
        "photographs.picture": (photographs.picture, {"name": "grass"}),
        "photographs.halves": (photographs.halves, {"seed": 0}),
        "photographs.corners": (
            photographs.corners,
            {"name": "brick", "size": 20, "n_train": 2, "n_test": 3, "seed": 0},
        ),
        "photographs.load": (photographs.load, counts | {"name": "brick"}),
        "scenes.group": (scenes.group, {"name": "dish", "kind": "missing"}),
        "scenes.render": (scenes.render, {"name": "bottle", "size": 48, "seed": 0, "kind": "crack"}),
        "scenes.load": (
            scenes.load,
            {"name": "dish", "size": 48, "n_train": 1, "n_good": 1, "n_per_defect": 0, "defects": None, "seed": 0},
        ),
        "solar.split": (solar.split, {k: v for k, v in cells.items() if k != "size"} | {"n_good": 1, "n_defective": 1}),
        "solar.load": (solar.load, cells | {"n_good": 1, "n_defective": 1}),
        "solar.planted": (
            solar.planted,
            {"cell": "mono", "size": 24, "n_train": 1, "kinds": ["good", "cut"], "seed": 0, "salt": 1},
        ),
        "categories": (folders.categories, {"root": root}),
        "folders.load": (
            folders.load,
            {"root": root, "category": "toy", "size": 16, "bits": None, "page": None, "empty_masks": False},
        ),
        "folders.write": (folders.write, {"dataset": dataset(), "root": root / "written", "category": "toy"}),
        "read_image": (
            files.read_image,
            {"path": root / "toy/train/good/000.png", "size": (8, 9), "bits": None, "page": None},
        ),
        "image_files": (files.image_files, {"folder": root / "toy" / "train" / "good"}),
        "save": (files.save, {"image": draw(3, 5, 6), "path": root / "saved.png"}),
        "resize_mask": (files.resize_mask, {"mask": MASKS[1], "size": (5, 6)}),
        "loco.categories": (loco.categories, {"root": root}),
        "loco.load": (loco.load, {"root": root, "category": "pins", "size": 16}),
        "loco.read_rules": (loco.read_rules, {"path": root / "pins" / loco.CONFIG}),
        "annotations.union": (loco.union, {"defects": [[], [NOTE]], "size": (13, 17)}),
        "Annotation": (annotations.Annotation, {"mask": MASKS[1], "saturation_area": 3.0, "kind": "cut"}),
        "realiad.categories": (realiad.categories, {"root": root, "split": "realiad_jsons_sv"}),
        "realiad.load": (realiad.load, {"root": root, "category": "toy", "size": 16, "resolution": 64, "view": "C1"}),
        "fabrics.load": (fabrics.load, {"root": root, "dataset": "wft", "category": "texture_1", "size": 16}),
        "bare_columns": (fabrics.bare_columns, {"strip": draw(3, 12, 40)}),
        # features
        "colours": (handcrafted.colours, small),
        "random_kernels": (handcrafted.random_kernels, small | {"n": 3, "size": 3, "seed": 0}),
        "steerable_pyramid": (
            handcrafted.steerable_pyramid,
            small | {"orientations": 2, "first_angle": 0.1, "residuals": True, "margin": 4},
        ),
        "steering_weights": (handcrafted.steering_weights, {"angle": 0.2, "orientations": 3, "first_angle": 0.1}),
        "minmax": (handcrafted.minmax, {"features": FEATURES, "eps": 1e-8}),
        # methods
        "Scores": (Scores, {"maps": maps, "image_scores": draw(3)}),
        "FCA": (fitted(fca.FCA), {"images": IMAGES, "backbone": net, "patch_size": 3, "sigma_p": 2.0, "sigma_s": None,
            "reference": "median", "n_references": 1, "k": None, "ties": "mean", "seed": 0}),
        "FCA.score_features": (lambda features: fca.FCA(patch_size=3).score_features(features), {"features": FEATURES}),
        "patch_weights": (fca.patch_weights, {"patch_size": 5, "sigma_p": 2.0, "sigma_s": 1.0}),
        "Aota": (fitted(aota.Aota), {"images": IMAGES, "backbone": net, "patch_size": 3, "k": 4, "sigma": 1.0, "scale": True}),
        "PatchCore": (fitted(patchcore.PatchCore), {"images": IMAGES, "backbone": net, "patch_size": 3, "coreset_ratio": 0.1,
            "projection": 4, "reweight": True, "b": 3, "sigma": 1.0, "seed": 0}),
        "patch_features": (patchcore.patch_features, {"maps": net(IMAGES), "patch_size": 3}),
        "greedy_coreset": (patchcore.greedy_coreset, {"points": draw(20, 6), "n": 5, "seed": 0, "projection": 3}),
        "nearest": (nearest.nearest, {"queries": draw(7, 4), "memory": draw(9, 4), "k": 2}),
        "eq7_weight": (patchcore.eq7_weight, {"query": draw(4), "memory": draw(9, 4), "entry": 3, "b": 4}),
        "smooth": (maps_of.smooth, {"maps": maps, "sigma": 1.5}),
        "PRADOT": (fitted(pradot.PRADOT), {"images": IMAGES, "backbone": lambda x: net(x)[1:], "n": 1, "alphas": (0.0, 0.3),
            "eta": 0.9, "epsilon": 0.05, "max_iter": 5, "tol": 1e-3, "epochs": 1, "batch_size": 2, "squared": True,
            "coordinates": "cells", "normalise_scores": False, "initial": "gaussian", "combine": "mean", "seed": 0,
            "align_corners": False, "drop_last": False, "val_ratio": 0.0}),
        "pradot.grid": (pradot.grid, {"h": 3, "w": 4, "kind": "cells"}),
        "TTAD": (adapted, {"images": IMAGES, "backbone": tiny_backbone(), "alignment": "discrete", "augmentation": "flips",
            "update": "bn_affine", "n_memory": 20, "epsilon": 0.05, "max_iter": 5, "batch_size": 2, "views": 1, "epochs": 1,
            "lr": 0.001, "momentum": 0.9, "reduction": "mean", "frozen": 0, "patch_size": 3, "sigma": 1.0, "seed": 0}),
        "turn": (ttad.turn, {"images": IMAGES, "view": 3}),
        "GNL": (fitted(gnl.GNL), {"images": IMAGES, "backbone": tiny_backbone(), "consistency": True, "match": True,
            "alpha": 0.5, "weight": 0.05, "operations": ("color",), "views": 1, "width": 2, "epochs": 1, "lr": 0.005,
            "batch_size": 2, "sigma": 1.0, "seed": 0}),
        "augmix": (
            lambda **given: gnl.augmix(rng=np.random.default_rng(0), **given),
            {"images": IMAGES, "operations": ["color", "sharpness"], "width": 2},
        ),
        "efdm": (teacher.efdm, {"features": draw(2, 3, 4, 5), "reference": draw(1, 3, 4, 5), "alpha": 0.5}),
        "MAEDAY": (fitted(maeday.MAEDAY), {"images": IMAGES, "model": lambda images, hidden: images, "n_masks": 3,
            "mask_ratio": 0.75, "patch_size": 4, "image_size": 16, "sigma": 1.0, "batch_size": 2, "seed": 0}),
        "random_masks": (maeday.random_masks, {"n_masks": 3, "side": 4, "mask_ratio": 0.75, "seed": 0}),
        "HistogramContrast": (fitted(saliency.HistogramContrast), {"images": IMAGES, "levels": 6, "coverage": 0.9, "normalise": True}),
        "RegionContrast": (fitted(saliency.RegionContrast), {"images": IMAGES, "levels": 6, "coverage": 0.9, "sigma_s2": 0.4,
            "scale": 10.0, "sigma": 0.5, "min_size": 9, "normalise": True}),
        "Weathering": (fitted(weathering.Weathering), {"images": IMAGES, "patch_size": 3, "share": 0.1, "stride": 2,
            "n_candidates": None, "normalise": True, "seed": 0}),
        "matched_map": (matching.matched_map, matched | {"weights": torch.eye(9), "engine": "plain"}),
        "reference_values": (matching.reference_values, {"features": FEATURES, "patch_size": 3, "reference": "median",
            "n_references": 1, "seed": 0, "engine": "plain"}),
        "gaussian": (matching.gaussian, {"size": 5, "sigma": 1.0}),
        "moments": (patch_statistics.moments, {"features": FEATURES, "patch_size": 3, "sigma": 2.0, "powers": (1, 2)}),
        "histogram": (patch_statistics.histogram, {"features": FEATURES, "patch_size": 3, "sigma": 2.0, "bins": 4,
            "reference": "mean", "n_references": 1, "seed": 0}),
        "sample_weighted_wasserstein": (patch_statistics.sample_weighted_wasserstein, sww),
    }  # fmt: skip


# Spoilt ones ----------------------------------------------------------------------------------------------

HUGE = 10**9
ANY = (
    None,
    0,
    -1,
    2.5,
    "nonsense",
    b"bytes",
    [],
    [None],
    {},
    object(),
    float("nan"),
    1j,
    np.array("x"),
    (),
    [[1], [2, 3]],
)
NUMBERS = (
    0,
    -1,
    -0.5,
    1e-300,
    1e300,
    -1e300,
    float("nan"),
    float("inf"),
    -float("inf"),
    10**400,
    HUGE,
    HUGE + 1,
    True,
    np.float64(2),
    np.int64(3),
)
WORDS = ("", "good", "\0", "x" * 5000, "ä ö", "None")
PATHS = (Path("/proc/nowhere"), "~nobody-of-this-name/x", "\0", "x" * 5000, "", ".", Path(__file__))
# Long on purpose: a caller who asks for so many iterations gets them.
PATIENT = {"max_iter", "epochs"}


def spoil_tensor(x: torch.Tensor, rng: random.Random) -> Any:
    float_x = x.float()
    return rng.choice(
        [
            lambda: x[..., :-1],
            lambda: x[:1],
            lambda: x[..., :1],
            lambda: x[..., :2, :1] if x.ndim > 1 else x[:2],
            lambda: x.repeat(*[1] * (x.ndim - 1), 3),
            lambda: x[:0],
            lambda: x[..., :0],
            lambda: x[None],
            lambda: x[0],
            lambda: x.movedim(0, -1),
            lambda: x.flatten(),
            lambda: torch.tensor(0.5),
            lambda: torch.zeros(0),
            lambda: torch.ones_like(x),
            lambda: torch.zeros_like(x),
            lambda: float_x * torch.nan,
            lambda: torch.where(draw(*x.shape) < 0.1, torch.inf, float_x),
            lambda: float_x - 2,
            lambda: float_x * 1e30,
            lambda: float_x * 255,
            lambda: float_x / 1e30,
            lambda: x.to(rng.choice([torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])),
            lambda: x.to(torch.complex64),
            lambda: float_x.to_sparse(),
            lambda: x.to("meta"),
            lambda: float_x.clone().requires_grad_(),
            lambda: x.numpy(),
            lambda: x.numpy()[::-1],
            lambda: x.numpy().astype(rng.choice([">f4", "U3", object, np.longdouble, np.float16])),
            lambda: x.tolist(),
            lambda: rng.choice(ANY),
        ]
    )()  # fmt: skip


def spoil(value: Any, name: str, rng: random.Random) -> Any:
    """Return something else than a good value: of its kind as a rule, of any kind sometimes."""
    if rng.random() < 0.15:
        return rng.choice(ANY)
    if isinstance(value, torch.Tensor):
        return spoil_tensor(value, rng)
    if isinstance(value, bool | int | float):
        found = rng.choice(NUMBERS)
        return 1 if name in PATIENT and isinstance(found, int | float) and found > 1 else found
    if isinstance(value, str):
        return rng.choice(PATHS if name in ("root", "path") else WORDS)
    if isinstance(value, Path):
        return rng.choice(PATHS)
    if isinstance(value, list | tuple) and value:
        one = rng.randrange(len(value))
        return rng.choice(
            [
                value[:-1],
                [*value, value[0]],
                [spoil(v, name, rng) if i == one else v for i, v in enumerate(value)],
                value[0],
                dict(enumerate(value)),
            ]
        )
    if isinstance(value, dict):
        return {k: spoil(v, name, rng) for k, v in value.items()}
    if callable(value):
        return rng.choice(
            [lambda *_: 3, lambda *_: [], lambda *_: [None], lambda *_: FEATURES, lambda x, *_: [x[0]], *ANY]
        )
    return rng.choice([*ANY, *NUMBERS, *WORDS, FEATURES])


# The test -------------------------------------------------------------------------------------------------


def ours(error: BaseException) -> bool:
    """Tell whether a `raise` of the package made this error: nothing below it, and no operation that failed."""
    frame = error.__traceback__
    while frame.tb_next:
        frame = frame.tb_next
    code = frame.tb_frame.f_code
    raised = code.co_code[frame.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    # FloatingPointError: what training is said to end with where it diverges.
    return (
        isinstance(error, ValueError | TypeError | FloatingPointError)
        and raised
        and code.co_filename.startswith(PACKAGE)
    )


def fuzz(name: str, function: Callable[..., Any], good: Good, seed: int) -> str:
    """Make one call; return "works", "refused", or a report if it fails in another way than it should."""
    rng = random.Random(f"{name} {seed}")
    spoilt = rng.sample(sorted(good), min(len(good), rng.choice([1, 1, 1, 2, 3])))
    given = good | {which: spoil(good[which], which, rng) for which in spoilt}
    told = {which: repr(given[which])[:200] for which in spoilt}
    start, result = time.perf_counter(), "works"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function(**given)
    except Exception as error:
        result = "refused"
        if not ours(error):
            return f"{name}({told}): {''.join(traceback.format_exception(error)[-4:])}"
    seconds = time.perf_counter() - start
    return result if seconds < PATIENCE else f"{name}({told}) took {seconds:.1f} s"


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    with contextlib.chdir(root):  # where "." is written to
        yield prepared(root)


def prepared(root: Path) -> dict[str, tuple[Callable[..., Any], Good]]:
    """Write the folders that the readers read, and return the table."""
    folders.write(dataset(), root, "toy")
    realiad.write(dataset(), root, "toy", resolution=64)
    folders.write(dataset(), root, "texture_1")
    toy, note = dataset(), annotations.Annotation(dataset().masks[1], 10.0, "cut")
    fields = {f: getattr(toy, f) for f in ("train", "test", "masks", "labels", "kinds", "licence")}
    groups = ["good", "structural", "good"]
    pins = annotations.AnnotatedDataset(
        "pins", **fields, defects=[[], [note], []], groups=groups, validation=toy.train
    )
    loco.write(pins, root, "pins", [loco.Rule("cut", 255, 0.5, True)])
    shutil.copytree(root / "pins/test/structural_anomalies", root / "pins/test/logical_anomalies")
    shutil.copytree(
        root / "pins/ground_truth/structural_anomalies", root / "pins/ground_truth/logical_anomalies"
    )
    return table(root)


def test_the_good_arguments_are_good(calls):
    for function, good in calls.values():
        function(**good)


def test_a_thousand_spoilt_calls(calls):
    rng = random.Random(0)
    names = [name for _ in range(CALLS // len(calls) + 1) for name in rng.sample(sorted(calls), len(calls))]
    found = [fuzz(name, *calls[name], seed) for seed, name in enumerate(names[:CALLS])]
    reports = [one for one in found if one not in ("works", "refused")]
    assert not reports, f"{len(reports)} of {CALLS}\n" + "\n".join(reports[:20])
    assert found.count("refused") > CALLS / 2  # most of what is spoilt is bad, and some is not
    assert found.count("works") > CALLS / 20


@pytest.mark.parametrize("module", [metrics, transport, corruptions, doubtful, handcrafted, folders])
def test_every_public_function_is_called(calls, module):
    public = {
        name
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and member.__module__ == module.__name__
    }
    called = {function.__name__ for function, _ in calls.values()}
    assert public - called <= {"disk", "masks_in", "mask_of"}  # of the inside: they take what was checked


def test_an_error_of_torch_or_python_is_not_ours():
    for call in (
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: textures.NAMES[9],
        lambda: transport.inputs.floats(object(), "x").missing,
    ):
        with pytest.raises(Exception) as raised:  # noqa: PT011
            call()
        assert ours(raised.value) == (call.__code__.co_names[0] == "transport")
