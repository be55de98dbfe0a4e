# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FCA: the results
#
# One picture and no training against one picture, five pictures, and a few older ideas: who finds the defect, at which
# resolution, and on what?
#
# *High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence Analysis*, Sections 4 and 5, Tables 3, 4
# and 6. Seven claims are tested. **fca-09**: FCA removes more than 40 % of the error of the earlier zero-shot method. **fca-10**: it
# localises better than PatchCore with the whole training set. **fca-11**: the gain is in localisation; as a detector of defective *pictures* it is
# on a par with the earlier method. **fca-12**: KNN references never hurt at low resolution and help most where the texture's period is long.
# **fca-13**: full resolution with the median beats low resolution with KNN. **fca-14**: FCA leads on three further data sets. **fca-20**: it is for textures and not for
# objects.
#
# The paper has MVTec AD, DTD-Synthetic, the woven fabric textures WFT, and Aitex; so has this page at
# `scale="paper"`. Otherwise it draws its own pictures: then it tests what the claims *say* on other data, and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 300  # the first of the verdicts' seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad, dtd_synthetic, wft, aitex; empty: OTAD_DATA
long = False  # compute all seeds anew and store them

# %% tags=["hide-input"]
import time
from functools import lru_cache
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml

from otad import ledger, plotting
from otad.data.readers import fabrics, folders
from otad.data.packaged import photographs, solar
from otad.data import resize
from otad.data.drawn import textures
from otad.data.drawn.defects import KINDS, damage
from otad.data.readers.locations import location
from otad.features.handcrafted import minmax
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.matching.aota import Aota
from otad.methods.matching.fca import FCA
from otad.methods.memory.patchcore import PatchCore
from otad.methods.maps import smooth
from otad.methods.saliency.contrast import HistogramContrast, RegionContrast
from otad.methods.matching.weathering import Weathering
from otad.metrics import aupro, f1_max, image_auroc, pixel_auroc
from otad.scale import device, pick

if scale == "paper":
    PLACES = {g: location(g, data_folder) for g in ("mvtec_ad", *fabrics.CLASSES)}

BLUE, RED, GREEN, PINK, ORANGE = plotting.COLORS[:5]

# %% [markdown]
# ## Two resolutions
#
# The paper runs FCA twice: at the resolution the camera gave, with patches of $T = 9$ feature pixels, and at $320^2$ with
# $T = 3$, where the earlier method of Aota, Tong and Okatani lives. MVTec's textures have 840 to 1024 pixels a side, so *low* means a third.
# Here, full is $256^2$, as much as our photographs hold, and low keeps the proportion. The network's stride is 4 instead
# of 8, so that the maps have the paper's size and not the images: $64 \times 64$ at full resolution, as on WFT.

# %%
full = pick(
    scale, smoke=64, laptop=256
)  # side in pixels; data sets on disk have theirs
low = pick(scale, smoke=32, laptop=96, paper=320)
T_full, T_low, sigma_p, sigma_s = pick(scale, smoke=5, laptop=9), 3, 3.0, 1.0
blur = 4 / 320  # of Aota's map, as a share of the side
side_of_patchcore = min(full, 256)  # for its blur is 4 pixels there

network = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
net = network(stages=(8,) if scale == "paper" else (4,), device=device())

# %% [markdown]
# ## Four kinds of pictures
#
# | here | classes | stands where the paper has |
# |---|---|---|
# | **procedural** | carpet, grid, leather, tile, wood | MVTec AD, whose textures have these names |
# | **photographs** | brick, grass, gravel, with planted defects | DTD-Synthetic: real textures, planted defects |
# | **weaves** | carpet and grid, magnified 1.5 times | WFT: two weaves whose period exceeds the patch at low resolution |
# | **cells** | mono- and polycrystalline solar cells, planted defects | the ten *objects* of MVTec AD, for fca-20 |
#
# Aitex has no stand-in. Procedural textures and photographs together are the *panel* of pages 11 and 16, and the claims
# about Table 3 are judged on it. The cells are real, and their own defects have no masks: so we take flawless ones and plant
# what we plant elsewhere. Magnifying a weave makes its period 3.2 to 3.6 feature pixels at low resolution, just more than
# $T = 3$: a patch no longer sees all that is normal.

# %%
n_seeds = pick(scale, smoke=2, laptop=10, paper=5)
n_good, n_kinds = pick(scale, smoke=(1, 1), laptop=(2, 3))  # test pictures a class
n_train = pick(scale, smoke=2, laptop=5)  # normal pictures for PatchCore alone
GROUPS = {
    "procedural": pick(scale, smoke=("wood",), laptop=textures.NAMES),
    "photographs": pick(scale, smoke=("brick",), laptop=photographs.NAMES),
    "weaves": pick(scale, smoke=("grid",), laptop=("carpet", "grid")),
    "cells": solar.CELLS,
}
PANEL, LONG, OBJECTS = ("procedural", "photographs"), "weaves", "cells"
if scale == "paper":
    OBJECTS = "objects"
    others = [
        c for c in folders.categories(PLACES["mvtec_ad"]) if c not in textures.NAMES
    ]
    GROUPS = (
        {"mvtec_ad": textures.NAMES} | fabrics.CLASSES | {OBJECTS: tuple(others)}
    )
    PANEL, LONG = ("mvtec_ad",), "wft"
HAS_FULL = [
    g for g in GROUPS if g not in ("dtd_synthetic", "aitex")
]  # these two come at 320 pixels
TEXTURES = [g for g in GROUPS if g != OBJECTS]


def kinds_of(group, name, s):
    if (
        group not in PANEL and scale != "smoke"
    ):  # two classes each: every kind each time
        return ["good", *KINDS]
    shown = KINDS[(GROUPS[group].index(name) + s) % 2 :: 2][:n_kinds]
    return ["good"] * n_good + list(shown)


# %%
@lru_cache(maxsize=1)
def on_disk(group, name):
    if group in fabrics.CLASSES:
        return fabrics.load(PLACES[group], group, name)
    return folders.load(PLACES["mvtec_ad"], name)


def load(group, name, s):
    """Normal images for PatchCore, test images and masks of one class and seed."""
    # From disk a seed is one of n_seeds disjoint parts of the test images.
    if scale == "paper":
        data, part = on_disk(group, name), slice(s - seed, None, n_seeds)
        return data.train, data.test[part], data.masks[part]
    kinds = kinds_of(group, name, s)
    if group in PANEL:
        source = textures if group == "procedural" else photographs
        data = source.load(
            name, full, n_train, n_good, 1, defects=kinds[n_good:], seed=s
        )
        return data.train, data.test, data.masks
    if group == "weaves":
        large, i = round(1.5 * full), textures.NAMES.index(name)
        fresh = [
            textures.render(name, large, [s, 20 + i, n])[:, :full, :full]
            for n in range(len(kinds))
        ]
        return None, *damage(fresh, kinds, [s, 20 + i, 99])
    data = solar.planted(
        name, full, n_train, kinds, s, salt=30 + solar.CELLS.index(name)
    )
    return data.train, data.test, data.masks


# %% [markdown]
# One picture of each class, the outline of its defect over it. The weaves are the carpet and the grid, seen from nearer.

# %% tags=["hide-input"]
first, gallery = {}, {}
for group, name in [(g, c) for g, classes in GROUPS.items() for c in classes]:
    train, images, masks = load(group, name, seed)
    if scale != "paper":  # large data sets are read again
        first[group, name] = train, images, masks
    worst = int(masks.flatten(1).sum(1).argmax())
    outline = masks[worst][None, None].float()
    gallery[name + (" × 1.5" if group == "weaves" else "")] = (
        resize(images[worst : worst + 1], (256, 256)),
        F.interpolate(outline, (256, 256))[0],
    )
fig = plotting.gallery(
    torch.cat([image for image, _ in gallery.values()]),
    list(gallery),
    columns=min(6, len(gallery)),
    masks=torch.cat([mask for _, mask in gallery.values()]) > 0,
)
plotting.show(
    fig,
    alt=f"A defective picture of each class, the defect outlined: {', '.join(gallery)}.",
)
if scale != "paper":
    ledger.say(solar.NOTICE)

# %% [markdown]
# ## The contestants
#
# From one picture alone: **FCA** at full resolution; FCA at low resolution; the same with **KNN** references (for each pixel, the
# quarter of all references that suits it best; ties by raster order, five times faster, and network features hardly have any). **Aota et al.**: local
# means and nearest neighbours, at low resolution as in their paper, and at full resolution, which nobody printed. **Weathering** by
# Bellini et al., which asks how old a patch looks. **Saliency**: does a region stand out by its colour (RC), or a colour (HC)?
# The last two look at pixels, so they get the low resolution.


# %%
def enlarge(maps, like):
    maps = torch.stack(list(maps)).float()[:, None]
    return F.interpolate(maps, like.shape[-2:], mode="bilinear")[:, 0]


def fca(features, T, reference="median"):
    ties = "index" if reference == "knn" else "mean"
    method = FCA(
        patch_size=T,
        sigma_p=sigma_p,
        sigma_s=sigma_s,
        reference=reference,
        ties=ties,
    )
    return [method.score_features(f) for f in features]


def aota(features):
    return [Aota(patch_size=3).score_features(f) for f in features]


def look(images):
    """Features of each image, every channel scaled to [0, 1]."""
    with torch.no_grad():
        return [minmax(net(image)[0])[0] for image in images.to(device()).split(1)]


def zero_shot(images, group):
    """Name to maps (N,H,W), each from its image alone."""
    small = resize(images, (low, low))
    coarse = look(small)
    maps = {
        "FCA low": enlarge(fca(coarse, T_low), images),
        "Aota": smooth(enlarge(aota(coarse), images), blur * images.shape[-1]),
    }
    if group in TEXTURES:
        maps["FCA low + KNN"] = enlarge(fca(coarse, T_low, "knn"), images)
    if group in HAS_FULL:
        fine = look(images)
        maps["FCA"] = enlarge(fca(fine, T_full), images)
        if group in PANEL:
            maps["Aota full"] = smooth(
                enlarge(aota(fine), images), blur * images.shape[-1]
            )
    if group in PANEL:
        for name, method in (
            ("weathering", Weathering(n_candidates=4096)),
            ("saliency RC", RegionContrast(min_size=50)),
            ("saliency HC", HistogramContrast()),
        ):
            maps[name] = enlarge(method.score(small.to(device())).maps, images)
    return {name: m.cpu() for name, m in maps.items()}


# %% [markdown]
# From normal pictures: **PatchCore**, with one (every patch remembered) and with all there are (a tenth of the patches, chosen greedily).
# **MAEDAY** hides parts of the picture and has an autoencoder paint them in; its weights come from no package registry, so its row stays printed
# only (the loader for those who have the weights is `otad.methods.reconstruction.maeday.vit_mae`).


# %%
def few_shot(train, images, s, strides):
    one = (s - seed) % len(train)
    shots = {
        "PatchCore 1-shot": (1.0, slice(one, one + 1)),
        "PatchCore all": (0.1, slice(None)),
    }
    small = resize(images, (side_of_patchcore,) * 2).to(device())
    maps = {}
    for name, (ratio, which) in shots.items():
        normal = resize(train[which], (side_of_patchcore,) * 2).to(device())
        method = PatchCore(NETS[strides], coreset_ratio=ratio, seed=s)
        maps[name] = enlarge(method.fit(normal).score(small).maps, images).cpu()
    return maps


# %% [markdown]
# ## The same search for both
#
# fca-10 sets FCA against PatchCore, and a comparison of two methods must not be one of two strides. So both try the same sets of strides
# of the network, on seeds that are not judged, and each gets the one with its highest mean PRO. FCA's patch covers the same share of the picture at every stride
# ($T = 9$ at stride 4, 5 at 8, 3 at 16), and its maps of several strides are averaged; PatchCore joins the features. The other claims set FCA
# against Aota's method on the same features, and stay at stride 4. (At scale *paper* each has the strides of its paper.)

# %%
TRIES = pick(
    scale,
    smoke=((4,), (4, 8)),
    laptop=((4,), (8,), (16,), (4, 8), (8, 16)),
    paper=((8,), (8, 16)),
)
n_tuning = pick(scale, smoke=1, laptop=5)
TUNING = range(seed - n_tuning, seed)
NETS = {strides: network(stages=strides, device=device()) for strides in TRIES}


def fca_at(strides, images):
    """Maps (N,H,W): the mean over the strides, each with a patch of the same share of the picture."""
    maps = 0
    for n, stride in enumerate(strides):
        share = T_full * net.strides[0] / stride
        T = max(3, 2 * round((share - 1) / 2) + 1)
        with torch.no_grad():
            stages = [
                NETS[strides](image)[n] for image in images.to(device()).split(1)
            ]
        features = [minmax(stage)[0] for stage in stages]
        maps = maps + enlarge(fca(features, T), images) / len(strides)
    return maps.cpu()


def search(group, name, s):
    """Rows of the search: both methods with each of the tries."""
    train, images, masks = load(group, name, s)
    rows = []
    for strides in TRIES:
        of_patchcore = few_shot(train, images, s, strides)["PatchCore all"]
        for method, maps in (
            ("FCA", fca_at(strides, images)),
            ("PatchCore", of_patchcore),
        ):
            row = {"part": "search", "class": name, "seed": s, "method": method}
            row |= {"strides": " and ".join(map(str, strides))}
            rows.append(
                row | {"PRO": round(100 * aupro(crop(maps), crop(masks)), 4)}
            )
    return rows


# %% [markdown]
# ## The run
#
# A tenth of the picture is dropped at each side before anything is scored, as the authors do (100 of 1024 pixels; the text
# says "center regions" and no number). Page 16 shows what hangs on it. Images are judged by the largest value that is left, for every method, and
# by whether any of the mask is left.


# %%
def crop(maps):
    border = round(0.1 * maps.shape[-1])
    return maps[:, border:-border, border:-border]


IN_TABLE_6 = ("FCA", "FCA low", "FCA low + KNN", "Aota")


def scored(name, maps, masks):
    found = {"PRO whole": aupro(maps, masks)}
    maps, masks = crop(maps), crop(masks)
    bad = masks.flatten(1).any(1)
    found |= {"PRO": aupro(maps, masks), "AUROC": pixel_auroc(maps, masks)}
    if bad.any() and not bad.all():
        found["image AUROC"] = image_auroc(maps.flatten(1).amax(1), bad)
    if name in IN_TABLE_6:
        found["F1"] = f1_max(maps, masks)[0]
    return {metric: round(100 * value, 4) for metric, value in found.items()}


# %% [markdown]
# All seeds take longer than a page should, so they are kept in a file. The page computes the first of them anew, with the same functions, and
# compares.

# %%
n_kept = pick(scale, smoke=2, laptop=3, paper=2)
kept = {}


def run(group, name, s, chosen):
    """Rows of one class and seed, every contestant; keeps pictures and maps of the first seed for figures and exercise."""
    train, images, masks = first.pop((group, name), None) or load(group, name, s)
    maps = zero_shot(images, group)
    if group in (*PANEL, OBJECTS):
        maps["FCA tuned"] = fca_at(chosen["FCA"], images)
        maps |= few_shot(train, images, s, chosen["PatchCore"])
    if s == seed:  # a good picture and a few others
        bad = masks.flatten(1).any(1)
        some = (~bad).nonzero()[:1, 0].tolist()
        some += bad.nonzero()[:n_kept, 0].tolist()
        few = {method: values[some] for method, values in maps.items()}
        kept[group, name] = images[some], masks[some], few
    key = {"part": "run", "group": group, "class": name, "seed": s}
    key |= {"damaged": float(masks.float().mean()), "grey": float(images.mean())}
    return [key | {"method": m} | scored(m, v, masks) for m, v in maps.items()]


def best_of(rows):
    """Method to the strides with the highest mean PRO in the search."""
    if scale == "paper":
        return {"FCA": (8,), "PatchCore": (8, 16)}
    found = pd.DataFrame(rows).groupby(["method", "strides"])["PRO"].mean()
    names = {m: found[m].idxmax() for m in ("FCA", "PatchCore")}
    return {m: tuple(map(int, name.split(" and "))) for m, name in names.items()}


classes = [(group, name) for group, names in GROUPS.items() for name in names]
everything = long or scale != "laptop"
kept_in_file = [] if everything else ledger.stored("13_results").value
if everything:
    tried = [
        row
        for s in (() if scale == "paper" else TUNING)
        for group, name in classes
        if group in PANEL
        for row in search(group, name, s)
    ]
else:
    tried = [row for row in kept_in_file if row["part"] == "search"]
CHOSEN = best_of(tried)
live = [
    row
    for group, name in classes
    for s in range(seed, seed + (n_seeds if everything else 1))
    for row in run(group, name, s, CHOSEN)
]
rows = live if everything else [row for row in kept_in_file if row["part"] == "run"]
if long:
    ledger.store(tried + rows)
scores = pd.DataFrame(rows)

# %% tags=["remove-input"]
if not everything:
    a_class = PANEL[-1], GROUPS[PANEL[-1]][-1]
    ledger.say(ledger.stored("13_results").sentence())
    ledger.agreement(
        "13",
        live,
        rows,
        cell=("group", "class", "seed", "method"),
        scores=("PRO", "AUROC", "F1", "PRO whole"),
        same=("damaged", "grey"),
        untrained=lambda row: row["method"].startswith(("FCA", "Aota")),
        rounding=0.05,
    )
    ledger.agreement(
        "13 search",
        search(*a_class, TUNING[0]),
        tried,
        cell=("class", "seed", "method", "strides"),
        scores=("PRO",),
        untrained=lambda row: row["method"] == "FCA",
        rounding=0.05,
    )

# %% tags=["hide-input"]
if tried:
    found = pd.DataFrame(tried).pivot_table(
        index="strides", columns="method", values="PRO", sort=False
    )
    ledger.record("p13_search", found.to_dict(), tolerance=0.02)
    plotting.table(
        found.rename_axis(None),
        caption=f"The search: PRO (%) on the panel, mean over {n_tuning} seeds that are not judged",
        formats="{:.1f}",
    )
for method, strides in CHOSEN.items():
    ledger.record(f"p13_chosen_{method.lower()}", " and ".join(map(str, strides)))

# %% tags=["remove-input"]
ledger.say(
    "So FCA gets stride {p13_chosen_fca} against PatchCore, which gets {p13_chosen_patchcore}."
)

# %% tags=["hide-input"]
METRICS = ("PRO", "AUROC", "image AUROC", "F1", "PRO whole")
NAMES = {
    "pixel_pro_0.3": "PRO",
    "pixel_auroc": "AUROC",
    "image_auroc": "image AUROC",
    "pixel_f1max": "F1",
}
METHODS = list(dict.fromkeys(scores["method"]))
facts = ledger.numbers(paper="fca")
with (resources.files("otad.published") / "protocols.yml").open("rb") as file:
    said = yaml.safe_load(file)["fca"]
sets, final = said["datasets"], said["final_method"]
T9, T3, p, w, k = (
    final["hyperparameters"][name]["value"]
    for name in ("T_full", "T_320", "sigma_p", "sigma_s", "K")
)
card = {  # printed, here
    "pictures": (
        f"MVTec AD {sets['mvtec_ad']['test_images']}; WFT {sets['wft']['test_images']}; DTD-Synthetic {sets['dtd_synthetic']['images']}",
        f"{sum(len(c) for c in GROUPS.values())} classes × {n_seeds} seeds, "
        + (
            "disjoint parts of the test images"
            if scale == "paper"
            else f"{n_good} good and {n_kinds} defective test pictures each (weaves and cells 1 and {len(KINDS)})"
        ),
    ),
    "full resolution": (
        f"MVTec AD {sets['mvtec_ad']['resolution']}; WFT {sets['wft']['resolution']}",
        "as printed" if scale == "paper" else f"{full}x{full}",
    ),
    "low resolution": (
        sets["dtd_synthetic"]["evaluation_resolution"],
        f"{low}x{low}",
    ),
    "Aitex": (
        sets["aitex"]["preparation"],
        "as printed" if scale == "paper" else "no stand-in",
    ),
    "backbone": (
        f"{final['backbone']}, {final['layer']}, stride {final['stride']}, {final['channels']} channels",
        f"{net.name}, {net.weights}, stride {net.strides[0]}, {net.channels[0]} channels",
    ),
    "T, σ_p, σ_s": (
        f"{T9} at full and {T3} at low resolution; {p:g}; {w:g}",
        f"{T_full} and {T_low}; {sigma_p:g}; {sigma_s:g}",
    ),
    "reference": (final["reference_selection"]["median"], "the same, over tiles"),
    "K of KNN": (k, "N/4 of the N locations"),
    "Aota": (
        said["baselines"]["aota"],
        f"T = 3, K = N/4, blurred by {100 * blur:.2f} % of the side",
    ),
    "PatchCore": (
        said["baselines"]["patchcore"],
        f"{net.name}, stride {' and '.join(map(str, CHOSEN['PatchCore']))}; images of {side_of_patchcore} pixels; 3 × 3 means; one "
        f"shot: all patches; {'all' if scale == 'paper' else n_train} shots: coreset of 10 %; σ = 4",
    ),
    "weathering, saliency": (
        "constants not stated",
        "low resolution; 4096 candidates; regions of at least 50 pixels",
    ),
    "border": (
        sets["mvtec_ad"]["crop"],
        "10 % of the side dropped on each side of map and mask",
    ),
    "map to image": ("not stated", "bilinear, masks at full size"),
    "image score": (final["image_score"], "the same, after the crop"),
    "metrics": (
        "; ".join(f"{NAMES.get(n, n)}: {v}" for n, v in said["metrics"].items()),
        "the same, a class and seed at a time, then the mean of classes",
    ),
}
plotting.table(
    pd.DataFrame(card, index=pd.Index(["printed", "here"], name=None)).T,
    caption="Protocol card",
)

# %% [markdown]
# Before the tables, the pictures behind them: one defective picture of three classes, one colour scale a method. See how
# much of the defect's outline is left at low resolution, and what saliency takes for salient.

# %% tags=["hide-input"]
shown = [key for key in kept if key[0] in PANEL]
shown = shown[:: max(1, len(shown) // 3)][:3]


def defective(key):
    """The first defective picture of a class."""
    images, masks, maps = kept[key]
    one = int(masks.flatten(1).any(1).nonzero()[-1])
    return one, images, masks, maps


order = ["FCA", "FCA low", "Aota", "PatchCore all", "weathering", "saliency RC"]
parts = [defective(key) for key in shown]
least = min(crop(masks).shape[-1] for _, _, masks, _ in parts)


def cut(values):
    """The scored part of one picture, all pictures equally large."""
    return crop(values)[..., :least, :least]


fig = plotting.maps(
    torch.stack([cut(images[one]) for one, images, _, _ in parts]),
    torch.stack([cut(masks)[one] for one, _, masks, _ in parts]),
    {
        name.removesuffix(" all"): torch.stack(
            [cut(maps[name])[one] for one, _, _, maps in parts]
        )
        for name in order
    },
    [name for _, name in shown],
)
plotting.show(
    fig,
    alt=f"Defective pictures of {', '.join(n for _, n in shown)}, their masks and the maps of {', '.join(order)}. FCA's maps are finer at full "
    "resolution; those of saliency mark what is normal.",
)

# %% [markdown]
# ## Table 3: everyone
#
# Percent, mean over the panel; $\pm$ is half the 95 % interval over seeds. Printed are MVTec AD's five textures at 1024 pixels, measured
# are our pictures at a quarter of that: compare the *order*, and the steps between neighbours.

# %%
PRINTED = {  # method here, in numbers.csv, and what its setting says
    "saliency RC": ("saliency_rc", ""),
    "saliency HC": ("", ""),
    "weathering": ("bellini", ""),
    "MAEDAY": ("maeday", ""),
    "Aota": ("aota", ""),
    "Aota full": ("", ""),
    "PatchCore 1-shot": ("patchcore_1shot", ""),
    "PatchCore all": ("patchcore", "shot=all;unit"),
    "PatchCore all, by its authors": ("patchcore", "source=literature"),
    "FCA low": ("fca_320", ""),
    "FCA low + KNN": ("fca_320_knn", ""),
    "FCA": ("fca", ""),
    "FCA tuned": ("", ""),
}


def printed_value(table, dataset, category, method, metric):
    """A number as printed, or NaN; DTD-Synthetic and Aitex have no larger pictures than 320."""
    word, setting = PRINTED[method]
    if dataset in ("dtd_synthetic", "aitex"):
        word = {"FCA low": "fca", "FCA low + KNN": "fca_knn", "Aota": "aota"}.get(
            method, ""
        )
    there = facts[
        (facts["table"] == table)
        & (facts["dataset"] == dataset)
        & (facts["category"] == category)
    ]
    there = there[
        (there["method"] == word)
        & there["setting"].str.contains(setting, regex=False)
    ]
    there = there[there["metric"].map(NAMES) == metric]
    return float(there["number"].iloc[0]) if len(there) else np.nan


by_seed = scores.groupby(["group", "seed", "method"], sort=False)[
    list(METRICS)
].mean()
panel = (
    scores[scores["group"].isin(PANEL)]
    .groupby(["seed", "method"], sort=False)[list(METRICS)]
    .mean()
)


def measured(frame, method, metric):
    """Mean and half the interval over seeds."""
    if method not in frame.index.get_level_values("method"):
        return np.nan, np.nan
    mean, below, _ = ledger.t_interval(
        frame.xs(method, level="method")[metric].tolist()
    )
    return mean, mean - below


rows = []
for method in PRINTED:
    row = {"method": method}
    for metric in METRICS[:3]:
        row[f"{metric} printed"] = printed_value(
            "Table 3", "mvtec_ad", "mean_textures", method, metric
        )
        row[f"{metric} here"], row[f"{metric} ±"] = measured(panel, method, metric)
    rows.append(row)
table_3 = pd.DataFrame(rows)

# %% tags=["hide-input"]
here_3 = table_3.set_index("method")[[f"{m} here" for m in METRICS[:3]]].dropna()
ledger.record(
    "p13_table_3", {m: r.tolist() for m, r in here_3.iterrows()}, tolerance=0.01
)
plotting.table(
    table_3,
    caption=f"Table 3, printed (MVTec AD textures) and here ({len(scores[scores['group'].isin(PANEL)]['class'].unique())} textures, {n_seeds} seeds)",
    formats="{:.1f}",
    shows=["fca Table 3"],
)
shots = table_3.set_index("method")
for key, method in (
    ("one", "PatchCore 1-shot"),
    ("all", "PatchCore all"),
    ("none", "FCA"),
):
    ledger.record(
        f"p13_shots_{key}",
        {"here": shots["PRO here"][method], "print": shots["PRO printed"][method]},
        tolerance=0.02,
    )

# %% tags=["remove-input"]
ledger.say(
    "PatchCore reaches {p13_shots_all[here]:.1f} with all normal pictures and {p13_shots_one[here]:.1f} with "
    "one ({p13_shots_all[print]:.1f} and {p13_shots_one[print]:.1f} in print), where FCA, with none, has {p13_shots_none[here]:.1f} "
    "({p13_shots_none[print]:.1f}). One picture of a texture holds most of what is normal about it: that is the "
    "idea of zero-shot detection, and here it serves PatchCore as well."
)

# %% [markdown]
# The column PRO as a picture, sorted by the printed value (rows without one at the bottom). Where the order is reproduced, the red
# squares climb as the blue dots do.

# %% tags=["hide-input"]
drawn = table_3[table_3["PRO here"].notna() | table_3["PRO printed"].notna()]
drawn = drawn.sort_values("PRO printed", na_position="first").reset_index(drop=True)
fig, ax = plt.subplots(figsize=(8, 4.4), layout="constrained")
ax.plot(
    drawn["PRO printed"],
    drawn.index,
    "o",
    color=BLUE,
    label="printed: MVTec AD textures",
)
ax.errorbar(
    drawn["PRO here"],
    drawn.index,
    xerr=drawn["PRO ±"],
    fmt="s",
    color=RED,
    capsize=3,
    label="here: panel, 95 % interval over seeds",
)
ax.set_yticks(drawn.index, drawn["method"])
ax.set(xlabel="PRO (%)", xlim=(0, 100))
ax.grid(axis="y", color="0.93")
fig.legend(loc="outside lower center", ncols=2, fontsize=9)
plotting.show(
    fig,
    alt="PRO of all methods, printed and measured here with intervals. Both put saliency last and weathering after it; here PatchCore is "
    "ahead of FCA at full resolution, in print behind it.",
    shows=["fca Table 3"],
)

# %% [markdown]
# ## The method or the resolution?
#
# Table 3 compares FCA on a thousand pixels with Aota on 320. Two things differ, so let us take them apart: both methods at both resolutions. Go
# along a row to see what resolution is worth, down a column for what the method is worth.

# %%
by_method = panel["PRO"].unstack()
square = {
    ("Aota", "low"): by_method["Aota"],
    ("Aota", "full"): by_method["Aota full"],
    ("FCA", "low"): by_method["FCA low"],
    ("FCA", "full"): by_method["FCA"],
}
steps = {
    "whole": square["FCA", "full"] - square["Aota", "low"],
    "resolution_aota": square["Aota", "full"] - square["Aota", "low"],
    "resolution_fca": square["FCA", "full"] - square["FCA", "low"],
    "method_low": square["FCA", "low"] - square["Aota", "low"],
    "method_full": square["FCA", "full"] - square["Aota", "full"],
}
steps = {name: ledger.t_interval(gap.tolist()) for name, gap in steps.items()}

# %% tags=["hide-input"]
for name, (mean, below, above) in steps.items():
    ledger.record(
        f"p13_step_{name}",
        {"mean": mean, "low": below, "high": above},
        tolerance=0.05,
    )
plotting.table(
    pd.DataFrame(
        {
            "low resolution": [square[m, "low"].mean() for m in ("Aota", "FCA")]
            + [steps["method_low"][0]],
            "full resolution": [square[m, "full"].mean() for m in ("Aota", "FCA")]
            + [steps["method_full"][0]],
            "gain": [
                steps["resolution_aota"][0],
                steps["resolution_fca"][0],
                np.nan,
            ],
        },
        index=pd.Index(["Aota", "FCA", "FCA less Aota"], name=None),
    ),
    caption=f"PRO (%) on the panel, {n_seeds} seeds: method by resolution",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "From Aota's method at low resolution to FCA at full resolution it is {p13_step_whole[mean]:+.1f} points "
    "[{p13_step_whole[low]:+.1f}, {p13_step_whole[high]:+.1f}]. Resolution alone gives Aota's method "
    "{p13_step_resolution_aota[mean]:+.1f} [{p13_step_resolution_aota[low]:+.1f}, {p13_step_resolution_aota[high]:+.1f}], and at the same full "
    "resolution FCA is {p13_step_method_full[mean]:+.1f} [{p13_step_method_full[low]:+.1f}, {p13_step_method_full[high]:+.1f}] "
    "points from it; at low resolution, {p13_step_method_low[mean]:+.1f} [{p13_step_method_low[low]:+.1f}, {p13_step_method_low[high]:+.1f}]. "
    "FCA's merit in this table is that its cost lets it have the resolution: Aota's grows with the square of the number of "
    "locations."
)

# %% [markdown]
# ## Table 4: three data sets
#
# Where does KNN help? The median reference says what is normal with one patch for all. That is right where every patch
# shows the whole texture, and wrong where the period is longer than the patch: then there are several normals, and the median
# is none of them. So look at the weaves: KNN should gain most there. Then at full resolution, where the patch of $T = 9$ holds a period again.

# %%
TWINS = {
    g: g for g in TEXTURES
}  # which printed data set stands beside which of ours
if scale != "paper":
    TWINS = {
        "procedural": "mvtec_ad",
        "photographs": "dtd_synthetic",
        "weaves": "wft",
    }
FOUR = ("Aota", "FCA low", "FCA low + KNN", "FCA")


def printed_mean(dataset, method, metric):
    if dataset == "mvtec_ad":
        return printed_value("Table 3", dataset, "mean_textures", method, metric)
    return printed_value("Table 4", dataset, "mean", method, metric)


rows = []
for dataset in dict.fromkeys([*TWINS.values(), "aitex"]):
    ours = next((g for g, twin in TWINS.items() if twin == dataset), "–")
    for method in FOUR:
        row = {"printed": dataset, "here": ours, "method": method}
        for metric in ("PRO", "AUROC"):
            row[f"{metric} printed"] = printed_mean(dataset, method, metric)
            frame = by_seed.loc[ours] if ours in TWINS else by_seed.iloc[:0]
            row[f"{metric} here"], row[f"{metric} ±"] = measured(
                frame, method, metric
            )
        rows.append(row)
table_4 = (
    pd.DataFrame(rows)
    .dropna(subset=["PRO printed", "PRO here"], how="all")
    .reset_index(drop=True)
)

# %% tags=["hide-input"]
ledger.record(
    "p13_table_4",
    {
        f"{r['here']} {r['method']}": [r["PRO here"], r["AUROC here"]]
        for r in rows
        if not np.isnan(r["PRO here"])
    },
    tolerance=0.01,
)
plotting.table(
    table_4,
    caption="Table 4, and Table 3 by data set: printed, and here on the stand-in (percent)",
    formats="{:.1f}",
    shows=["fca Table 4"],
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
for ax, column, title in (
    (axes[0], "printed", "printed"),
    (axes[1], "here", "here"),
):
    sets = [name for name in dict.fromkeys(table_4[column]) if name != "–"]
    for i, (method, color, mark) in enumerate(
        zip(FOUR, (PINK, ORANGE, GREEN, BLUE), "^svo", strict=True)
    ):
        values = (
            table_4[table_4["method"] == method]
            .drop_duplicates(column)
            .set_index(column)
            .reindex(sets)
        )
        at = np.arange(len(sets)) + 0.12 * (i - 1.5)
        ax.errorbar(
            at,
            values[f"PRO {title}"],
            yerr=values["PRO ±"] if title == "here" else None,
            fmt=mark,
            color=color,
            capsize=2,
            label=method,
        )
    ax.set_xticks(
        range(len(sets)), [name.replace("_", " ") for name in sets], fontsize=9
    )
    ax.set_title(title, fontsize=10)
    ax.grid(axis="y", color="0.93")
axes[0].set_ylim(0, 102)
axes[0].set_ylabel("PRO (%)")
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4
)
plotting.show(
    fig,
    alt="PRO of Aota's method and three variants of FCA by data set, printed and here. On WFT, and on our magnified weaves, the median at low "
    "resolution falls far below the others and full resolution leads.",
    shows=["fca Table 4"],
)

# %% tags=["hide-input"]
gain = {
    group: by_seed.loc[group].xs("FCA low + KNN", level="method")["PRO"]
    - by_seed.loc[group].xs("FCA low", level="method")["PRO"]
    for group in TEXTURES
}
for group, values in gain.items():
    mean, below, above = ledger.t_interval(values.tolist())
    ledger.record(
        f"p13_knn_{group}",
        {"mean": mean, "low": below, "high": above},
        tolerance=0.05,
    )
for dataset in ("mvtec_ad", *fabrics.CLASSES):
    with_knn, without = (
        printed_mean(dataset, m, "PRO") for m in ("FCA low + KNN", "FCA low")
    )
    ledger.record(f"p13_knn_printed_{dataset}", with_knn - without)
per_class = scores.pivot_table(
    index=["group", "class"], columns="method", values="PRO", sort=False
)
knn_gain = (per_class["FCA low + KNN"] - per_class["FCA low"]).drop(
    OBJECTS, level="group"
)
ledger.record("p13_knn_best_class", " ".join(reversed(knn_gain.idxmax())))
ledger.record("p13_knn_best", knn_gain.max(), tolerance=0.05)
ledger.record("p13_knn_worst_class", " ".join(reversed(knn_gain.idxmin())))
ledger.record("p13_knn_worst", knn_gain.min(), tolerance=0.05)

# %% tags=["remove-input"]
ledger.say(
    "KNN gains "
    + ", ".join(
        f"{{p13_knn_{g}[mean]:+.1f}} [{{p13_knn_{g}[low]:+.1f}}, {{p13_knn_{g}[high]:+.1f}}] points on {g}"
        for g in gain
    )
    + ". Among single classes it is best on *{p13_knn_best_class}* ({p13_knn_best:+.1f}) and worst on *{p13_knn_worst_class}* "
    "({p13_knn_worst:+.1f}). In print it is {p13_knn_printed_wft:+.1f} on WFT, and {p13_knn_printed_mvtec_ad:+.1f}, "
    "{p13_knn_printed_dtd_synthetic:+.1f} and {p13_knn_printed_aitex:+.1f} on MVTec AD, DTD-Synthetic and Aitex."
)

# %% [markdown]
# ## Table 6: class by class
#
# PRO / AUROC / F1 at its best threshold. Classes of the same name stand side by side; they are not the same pictures.

# %%
SHOWN_6 = {"FCA": "FCA", "KNN": "FCA low + KNN", "Aota": "Aota"}


def triple(values):
    return "–" if np.isnan(values).all() else " / ".join(f"{v:.1f}" for v in values)


detail = scores.groupby(["group", "class", "method"], sort=False)[
    ["PRO", "AUROC", "F1"]
].mean()
in_6 = facts[facts["table"] == "Table 6"]
rows = []
for dataset, category in dict.fromkeys(
    zip(in_6["dataset"], in_6["category"], strict=True)
):
    twin = next((g for g, t in TWINS.items() if t == dataset), None)
    rows.append(
        (dataset, category, twin if twin and category in GROUPS[twin] else None)
    )
taken = {(group, category) for _, category, group in rows}
rows += [("–", c, g) for g in GROUPS for c in GROUPS[g] if (g, c) not in taken]
table_6, pro_6 = [], []
for dataset, category, group in rows:
    line, pro = {"printed": dataset, "here": group or "–", "class": category}, {}
    for short, method in SHOWN_6.items():
        key = (
            "FCA low"
            if method == "FCA" and dataset in ("dtd_synthetic", "aitex")
            else method
        )
        old = [
            printed_value("Table 6", dataset, category, key, m)
            for m in ("PRO", "AUROC", "F1")
        ]
        known = group and (group, category, method) in detail.index
        new = (
            detail.loc[(group, category, method)].to_numpy()
            if known
            else np.full(3, np.nan)
        )
        line |= {f"{short} printed": triple(old), f"{short} here": triple(new)}
        pro |= {f"{short} printed": old[0], f"{short} here": new[0]}
    table_6.append(line)
    pro_6.append(line | pro)
table_6, pro_6 = pd.DataFrame(table_6), pd.DataFrame(pro_6)

# %% tags=["hide-input"]
ledger.record(
    "p13_table_6",
    {
        f"{g} {c} {m}": detail.loc[(g, c, m)].tolist()
        for g, c, m in detail.index
        if m in SHOWN_6.values()
    },
    tolerance=0.02,
)
plotting.table(
    table_6,
    caption="Table 6: PRO / AUROC / F1 (percent), printed and here",
    shows=["fca Table 6"],
)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 6.2), layout="constrained")
for ax, where in zip(axes, ("printed", "here"), strict=True):
    lines = pro_6[pro_6[f"Aota {where}"].notna()].iloc[::-1].reset_index(drop=True)
    for (short, color), mark in zip(
        {"Aota": PINK, "KNN": GREEN, "FCA": BLUE}.items(), "^vo", strict=True
    ):
        ax.plot(
            lines[f"{short} {where}"],
            lines.index,
            mark,
            color=color,
            label=SHOWN_6[short],
            ms=5,
        )
    labels = [
        f"{r['class']} × 1.5"
        if r["here"] == "weaves" and where == "here"
        else r["class"]
        for _, r in lines.iterrows()
    ]
    ax.set_yticks(lines.index, labels, fontsize=8)
    ax.set(xlabel="PRO (%)", title=where)
    ax.grid(axis="y", color="0.93")
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
)
plotting.show(
    fig,
    alt="PRO of FCA, FCA at low resolution with KNN, and Aota's method for each class, printed on the left and measured on the right.",
    shows=["fca Table 6"],
)

# %% [markdown]
# ## Objects
#
# Section 5 concedes that FCA is for textures: an object differs from itself from place to place, and one picture does not
# tell which of its parts are normal. A solar cell is a mild object: a texture with wires, corners and a frame. Look
# at the maps of the flawless cells, uncropped. What lights up is not a defect but a part, and the corners most of all; PatchCore has seen
# other cells and knows better.

# %% tags=["hide-input"]
rows = []
for name in GROUPS[OBJECTS][:2]:
    images, masks, maps = kept[OBJECTS, name]
    bad = masks.flatten(1).any(1)
    picks = (
        [int((~bad).nonzero()[0]), int(bad.nonzero()[-1])] if not bad.all() else [0]
    )
    rows += [
        (
            f"{name}, {'defect' if bad[i] else 'good'}",
            images[i],
            masks[i],
            {m: maps[m][i] for m in ("FCA", "FCA low", "Aota", "PatchCore all")},
        )
        for i in picks
    ]
side = min(r[1].shape[-1] for r in rows)
fig = plotting.maps(
    torch.stack([r[1][:, :side, :side] for r in rows]),
    torch.stack([r[2][:side, :side] for r in rows]),
    {m: torch.stack([r[3][m][:side, :side] for r in rows]) for m in rows[0][3]},
    [r[0] for r in rows],
)
plotting.show(
    fig,
    alt="Good and defective solar cells, masks, and maps of FCA at both resolutions, Aota and PatchCore, uncropped. The zero-shot maps follow busbars, "
    "frame and grains.",
)
if scale != "paper":
    ledger.say(solar.NOTICE)

# %% [markdown]
# The crop is kind to objects: it takes most of the frame away. So the table has both, cropped as everywhere on this page, and whole.
# And a low score on cells may mean that the *method* fails there, or that the defects are harder to see. PatchCore
# with normal pictures measures the second: it does not care whether it sees a texture. The fair number is a difference of
# differences: how far FCA falls behind PatchCore, on textures and on objects.

# %%
object_pro = by_seed.loc[OBJECTS]["PRO"].unstack()
panel_pro = panel["PRO"].unstack()
plain = panel_pro["FCA"] - object_pro["FCA"]
behind = {
    "textures": panel_pro["PatchCore all"] - panel_pro["FCA"],
    "objects": object_pro["PatchCore all"] - object_pro["FCA"],
}
fair = behind["objects"] - behind["textures"]

# %% tags=["hide-input"]
spans = {"plain": plain, "fair": fair} | {
    f"behind_{k}": v for k, v in behind.items()
}
for name, values in spans.items():
    mean, below, above = ledger.t_interval(values.tolist())
    ledger.record(
        f"p13_objects_{name}",
        {"mean": mean, "low": below, "high": above},
        tolerance=0.05,
    )
whose = {"textures": panel, "objects": by_seed.loc[OBJECTS]}
ways = {"cropped": "PRO", "whole": "PRO whole"}
in_objects = ("FCA", "FCA low", "Aota", "PatchCore 1-shot", "PatchCore all")
both_ways = pd.DataFrame(
    {
        f"{where}, {way}": [measured(f, m, column)[0] for m in in_objects]
        for where, f in whose.items()
        for way, column in ways.items()
    },
    index=pd.Index(in_objects, name=None),
)
ledger.record("p13_objects", both_ways.to_dict(), tolerance=0.01)
plotting.table(
    both_ways,
    caption=f"PRO (%) on textures (panel) and on objects ({OBJECTS})",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "FCA's PRO on textures less that on objects: {p13_objects_plain[mean]:+.1f} points [{p13_objects_plain[low]:+.1f}, "
    "{p13_objects_plain[high]:+.1f}]. Behind PatchCore it is {p13_objects_behind_textures[mean]:.1f} points on textures and "
    "{p13_objects_behind_objects[mean]:.1f} on objects, {p13_objects_fair[mean]:+.1f} more [{p13_objects_fair[low]:+.1f}, "
    "{p13_objects_fair[high]:+.1f}]."
)

# %% [markdown]
# ## Seven claims as inequalities
#
# Each claim is a list of gaps that must be positive, each with one margin a seed. Written once, they can be asked of the printed tables
# and of every seed. Where a claim has a number of its own it stays: 0.6 of the error for fca-09; for fca-11 half a point of image AUROC *either way*, which
# is what "on a par" says, and two points of PRO. "A wide margin" in fca-20 needed one: ten points. "Never hurt" in fca-12 is asked as *no loss of more than a
# point*, as no number of pictures could show a loss of nothing; a point is also what we call the smallest difference that would matter, as on page 11.
# "The best variant" of fca-14 is the one that is best in print on that data set, so that it need not be picked after the fact. Its data sets are DTD-Synthetic, WFT and
# Aitex, so it is asked of photographs and weaves, and of nothing that stands for MVTec AD.


# %%
DELTA = 1.0  # points of PRO or AUROC
WIDE = 10.0


def inequalities(claim, v, panel, sets, long):
    """Name to gap in points; v(data set, method, metric) in percent, NaN where there is no such number."""
    both = ("PRO", "AUROC")
    if claim == "fca-09":
        return {
            f"{m}: 0.6 of Aota's error": 0.6 * (100 - v(panel, "Aota", m))
            - (100 - v(panel, "FCA", m))
            for m in both
        }
    if claim == "fca-10":
        ours = "FCA tuned" if panel == "panel" else "FCA"
        return {
            f"{m}: over PatchCore": v(panel, ours, m) - v(panel, "PatchCore all", m)
            for m in both
        }
    if claim == "fca-11":
        apart = v(panel, "FCA", "image AUROC") - v(panel, "Aota", "image AUROC")
        return {
            "image AUROC: at most 0.5 below": apart + 0.5,
            "image AUROC: at most 0.5 above": 0.5 - apart,
            "PRO: gain over 2": v(panel, "FCA", "PRO")
            - v(panel, "Aota", "PRO")
            - 2,
        }
    if claim == "fca-12":
        gains = {
            d: v(d, "FCA low + KNN", "PRO") - v(d, "FCA low", "PRO") for d in sets
        }
        return {
            f"no loss over {DELTA:g} on {d}": g + DELTA for d, g in gains.items()
        } | {
            f"more on {long} than on {d}": gains[long] - g
            for d, g in gains.items()
            if d != long
        }
    if claim == "fca-13":
        return {
            f"{m} on {d}": v(d, "FCA", m) - v(d, "FCA low + KNN", m)
            for d in (panel, long)
            for m in both
        }
    if claim == "fca-14":
        return {
            f"{m} on {d}, {best}": v(d, best, m) - v(d, "Aota", m)
            for d in sets
            if (best := BEST_IN_PRINT.get(TWINS.get(d, d)))
            for m in both
        }
    return {
        "PRO: textures over objects": v(panel, "FCA", "PRO")
        - v(OBJECTS, "FCA", "PRO")
        - WIDE
    }


VARIANTS = [method for method in FOUR if method.startswith("FCA")]
BEST_IN_PRINT = {
    d: max(VARIANTS, key=lambda f, d=d: np.nan_to_num(printed_mean(d, f, "PRO")))
    for d in fabrics.CLASSES
}


def here(s):
    def v(group, method, metric):
        frame = panel.loc[s] if group == "panel" else by_seed.loc[(group, s)]
        return float(frame[metric].get(method, np.nan))

    return v


CLAIMS = ("fca-09", "fca-10", "fca-11", "fca-12", "fca-13", "fca-14", "fca-20")
gaps = {
    c: pd.DataFrame(
        [
            inequalities(c, here(s), "panel", TEXTURES, LONG)
            for s in range(seed, seed + n_seeds)
        ]
    )
    for c in CLAIMS
}
in_print = {
    c: inequalities(
        c, printed_mean, "mvtec_ad", ("mvtec_ad", *fabrics.CLASSES), "wft"
    )
    for c in CLAIMS[:-1]
}

# %% [markdown]
# First every inequality by itself: in print, and here with the interval over seeds.

# %% tags=["hide-input"]
rows = []
for c in CLAIMS:
    ours = [(name, *ledger.t_interval(gaps[c][name].tolist())) for name in gaps[c]]
    old = [(name, value) for name, value in in_print.get(c, {}).items()]
    for i in range(max(len(ours), len(old))):
        row = {"claim": c if i == 0 else ""}
        row |= (
            {"in print": old[i][0], "points": old[i][1]}
            if i < len(old)
            else {"in print": "–", "points": np.nan}
        )
        if i < len(ours):
            name, mean, below, above = ours[i]
            row |= {"here": name, "mean": mean, "low": below, "high": above}
        rows.append(row)
plotting.table(
    pd.DataFrame(rows).fillna({"here": "–"}),
    caption="Gaps in points, positive as claimed",
    formats="{:+.1f}",
)

# %% [markdown]
# ## Verdicts


# %%
def told(claim):
    """What print says."""
    if claim not in in_print:
        return ""
    return f"In print the smallest gap is {min(in_print[claim].values()):+.2f}. "


def mean_of(method, metric, group=None):
    return measured(panel if group is None else by_seed.loc[group], method, metric)[
        0
    ]


left = {
    m: 100 * (100 - mean_of("FCA", m)) / (100 - mean_of("Aota", m))
    for m in ("PRO", "AUROC")
}
ahead = {m: mean_of("FCA", m) - mean_of("Aota", m) for m in METRICS[:3]}
on_photographs = ""
if scale != "paper":
    at_full = mean_of("FCA", "PRO", "photographs") - mean_of(
        "Aota", "PRO", "photographs"
    )
    on_photographs = f"FCA at full resolution, which DTD-Synthetic does not have, is {at_full:+.1f} points of PRO from Aota's method on the photographs."
readings = {
    "fca-09": f"FCA leads Aota's method by {ahead['PRO']:.1f} points of PRO and {ahead['AUROC']:.1f} of AUROC; the question is whether that is more than 40 % of its error.",
    "fca-11": f"FCA's image AUROC is {ahead['image AUROC']:+.1f} points from Aota's; the claim is that there is no difference, in either direction.",
    "fca-14": "Two of the claim's three data sets have a stand-in here, Aitex has none.",
}
if scale == "paper":
    readings.pop("fca-14")
reasons = {
    "fca-09": f"FCA leaves {left['PRO']:.0f} % of Aota's error in PRO and {left['AUROC']:.0f} % in AUROC, where the claim wants less than 60. "
    "Of the lead, the table method by resolution tells how much is resolution.",
    "fca-10": f"The same search over {len(TRIES)} sets of strides on {n_tuning} other seeds gave FCA stride {ledger.recorded('p13_chosen_fca')} and PatchCore stride "
    f"{ledger.recorded('p13_chosen_patchcore')}. PatchCore with {n_train} normal pictures has {mean_of('PatchCore all', 'PRO'):.1f} of PRO, with one {mean_of('PatchCore 1-shot', 'PRO'):.1f}; "
    f"FCA with none {mean_of('FCA tuned', 'PRO'):.1f}, and {mean_of('FCA', 'PRO'):.1f} at the stride of the other claims. At {full} pixels FCA has a sixteenth of the pixels "
    "that it had in the paper, and PatchCore all that it ever uses.",
    "fca-11": f"Image AUROC {mean_of('FCA', 'image AUROC'):.1f} for FCA and {mean_of('Aota', 'image AUROC'):.1f} for Aota, but {mean_of('Aota full', 'image AUROC'):.1f} for Aota "
    "at full resolution. In print all are above 99, where there is no room to differ; and half a point is less than a few dozen pictures can resolve.",
    "fca-12": f"Gains: {', '.join(f'{g} {v.mean():+.1f}' for g, v in gain.items())}.",
    "fca-13": "Low resolution is the same third of the side as on MVTec AD.",
    "fca-14": f"It turns on the variant, which is the one that is best in print on the data set. {on_photographs}",
    "fca-20": f"With {WIDE:g} points for a wide margin, and cropped, which takes the frame of the cells away. Solar cells are mild objects, and defects may be "
    f"easier or harder to see on them: behind PatchCore, FCA is {fair.mean():+.1f} points further on objects than on textures.",
}
draws = (
    "a seed is one of the disjoint parts of the test images"
    if scale == "paper"
    else "a seed draws new pictures and new defects of all classes; photographs and cells overlap between seeds"
)
COMPARED = ("fca-10", "fca-13", "fca-14")  # the others state a number of their own
for claim in CLAIMS:
    own = f"{reasons[claim]} Tested on other pictures than the paper's."
    ledger.verdict(
        claim,
        gaps[claim].to_dict("list"),
        resampling=draws,
        unit="points",
        why=told(claim) + ("" if scale == "paper" else own),
        smallest_effect=DELTA if claim in COMPARED else None,
        effect_reason="as two laboratories print PRO values of one method on the same pictures farther apart (PatchCore in Table 3)"
        if claim in COMPARED
        else "",
        reading=readings.get(claim, ""),
    )

# %% [markdown]
# ## Paper against code
#
# What text and public code leave open for these tables, and what was done here; page 16 measures the rest.
#
# | | the paper | the authors' code | here |
# |---|---|---|---|
# | crop | "center regions" | 100 pixels a side; 50 on WFT; DTD-Synthetic and Aitex not included | a tenth of the side, everywhere |
# | image score | maximum of the map | of the cropped map, labels recomputed | as the code, for all methods |
# | WFT | two textures | read as MVTec AD | `otad.data.readers.fabrics`, masks by either name |
# | Aitex | squares fully covered, with an anomaly | not included | coverage by roughness: bare table has no threads |
# | K for FCA + KNN | not stated | not included | N / 4, as printed for Aota |
# | Aota's K | N / 4 | 400 | N / 4 |
# | PatchCore, weathering, saliency | named | not included | our implementations; the protocol card says which constants are ours |
#
# ## What it costs
#
# Seconds a picture, network included, on the machine that built this page, beside those printed for an RTX A5000. KNN is dear
# although its pictures are small: it looks at every pair of locations.


# %% tags=["timing"]
def seconds(run, repeats=3):
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device().type == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return min(spent)


group = PANEL[0]
one = kept[group, GROUPS[group][0]][0][:1]
small = resize(one, (low, low))
runs = {
    "Aota": lambda: aota(look(small)),
    "FCA low": lambda: fca(look(small), T_low),
    "FCA low + KNN": lambda: fca(look(small), T_low, "knn"),
    "FCA": lambda: fca(look(one), T_full),
    "Aota full": lambda: aota(look(one)),
}
old = facts[
    (facts["table"] == "Table 4")
    & (facts["metric"] == "seconds_per_image")
    & (facts["dataset"] == "wft")
]
costs = pd.DataFrame(
    {"seconds here": {name: seconds(run) for name, run in runs.items()}}
)
costs["seconds printed (WFT)"] = [
    old[old["method"] == PRINTED[name][0]]["number"].squeeze()
    if PRINTED[name][0]
    else np.nan
    for name in costs.index
]
costs["times FCA low"] = costs["seconds here"] / costs["seconds here"]["FCA low"]
ledger.record("p13_seconds", costs["seconds here"].to_dict(), timing=True)
ledger.record(
    "p13_knn_ratio",
    costs["times FCA low"]["FCA low + KNN"],
    timing=True,
    bounds=(1, 500),
)
plotting.table(
    costs,
    caption=f"Seconds a picture of {one.shape[-1]} (full) and {low} (low) pixels",
    formats={
        "seconds here": "{:.3f}",
        "seconds printed (WFT)": "{:.2f}",
        "times FCA low": "{:.1f}",
    },
    shows=["fca Table 4"],
    timing=True,
)

# %% tags=["remove-input", "timing"]
ledger.say(
    "KNN takes {p13_knn_ratio:.0f} times as long as the median at the same resolution; memory is what `matched_map` states, one map for each reference: "
    "$4N^2$ bytes, 1.3 MB here and 10 MB at $320^2$."
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Who finds a defect in a texture? PRO is {p13_shots_none[here]:.1f} for FCA, which sees no normal picture, {p13_table_3[Aota full][0]:.1f} for the older zero-shot method at the same resolution, {p13_shots_one[here]:.1f} and {p13_shots_all[here]:.1f} for PatchCore with one normal picture and with all, on "
    + (
        "the paper's data"
        if scale == "paper"
        else "drawn and photographed textures with planted defects"
    )
    + "; in print FCA has {p13_shots_none[print]:.1f} and PatchCore, with all, {p13_shots_all[print]:.1f}.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# On the weaves the period outgrows the patch of the coarse map, and the median suffers. Then a larger patch should help: $T = 5$ or 7 holds a period and
# costs nothing to speak of. Does it reach KNN? And what does it do to the wood, which has no period?
#
# ### Solution
#
# PRO at low resolution, on the first seed's pictures.

# %% tags=["hide-input"]
rows = []
for group, name in [(LONG, c) for c in GROUPS[LONG]] + [
    (PANEL[0], GROUPS[PANEL[0]][-1])
]:
    images, masks, _ = kept[group, name]
    coarse = look(resize(images, (low, low)))
    found = {f"median, T = {T}": fca(coarse, T) for T in (3, 5, 7)}
    found["KNN, T = 3"] = fca(coarse, 3, "knn")
    for variant, maps in found.items():
        pro = 100 * aupro(crop(enlarge(maps, images).cpu()), crop(masks))
        rows.append(
            {"class": f"{name} ({group})", "reference": variant, "PRO": pro}
        )
solution = pd.DataFrame(rows).pivot_table(
    index="class", columns="reference", values="PRO", sort=False
)
ledger.record("p13_patch_sizes", solution.T.to_dict(), tolerance=0.02)
plotting.table(
    solution.rename_axis(None),
    caption="PRO (%) at low resolution",
    formats="{:.1f}",
)

# %% tags=["hide-input"]
weave = solution[solution.index.str.contains(LONG)].mean()
rest = solution[~solution.index.str.contains(LONG)].mean()
for key, row in (("weave", weave), ("rest", rest)):
    ledger.record(
        f"p13_larger_{key}",
        float(row[["median, T = 5", "median, T = 7"]].max() - row["median, T = 3"]),
        tolerance=0.05,
    )

# %% tags=["remove-input"]
ledger.say(
    "The better of the two larger patches changes the weaves by {p13_larger_weave:+.1f} points and the wood by {p13_larger_rest:+.1f}. So a "
    "patch that holds the period is no substitute for references that know it. A patch is compared by its ranks, and the "
    "larger it is, the more of the texture's values it holds: a pixel that is wrong where it is, but would be right "
    "a thread further, finds its rank. KNN keeps the patch small and asks *which* normal it should be compared with."
)
