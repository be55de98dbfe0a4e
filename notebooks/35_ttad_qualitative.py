# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TTAD: maps under a shift
#
# Where does an adapted map light up, and where does it still not? Picture by picture, the failures included, and then the
# corruption that is hardest in print: what contrast does to a distance, and why a rival that never adapts shrugs it off.
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 4.2 and 4.3,
# Table 1, Figures 4 and 8. One claim is tested. **ttad-06**: a method trained with contrast-like augmentation (GNL) stays ahead of TTAD on
# contrast. Pictures are chosen by rules that are stated first. The data are others than the paper's, so this tests the claim and reproduces no
# printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdict's seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names
long = False  # True: compute the whole grid and store it, as `make results` does

# %% tags=["hide-input"]
import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.readers import folders
from otad.data.drawn import scenes, textures
from otad.data.packaged import solar
from otad.data.drawn.corruptions import KINDS, corrupt
from otad.data.readers.locations import location
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.distillation.gnl import GNL, OPERATIONS, efdm
from otad.methods.memory.patchcore import patch_features
from otad.methods.memory.ttad import TTAD, distances
from otad.metrics import average_precision, image_auroc, pixel_auroc
from otad.plotting import draw
from otad.scale import device, pick

if scale == "paper":
    MVTEC = location("mvtec_ad", data_folder)

BLUE, RED, GREEN, PINK, ORANGE = plotting.COLORS[:5]

# %% [markdown]
# ## Pictures
#
# The arena of page 30: classes whose clean PatchCore has an image AUROC of at least 0.9 and loses at least 0.1 under two or more
# corruptions. Two passed: monocrystalline solar cells with planted cuts, holes and contaminations, which have masks and decide, and cells of all designs
# with the defects they came with, which have none and are only shown, because a design gives many of them away. Everything that is drawn below is of the first, and everything is at
# severity 5, as in print. (Pages 33 and 34 are judged at milder ones.)

# %%
side = pick(scale, smoke=64, laptop=128, paper=224)
n_train = pick(scale, smoke=8, laptop=100)
n_good, n_each = pick(scale, smoke=(2, 1), laptop=(15, 5))
PLANTED = ("cut", "hole", "contamination")


def planted(s):
    """Monocrystalline cells with planted defects, and their masks."""
    kinds = ["good"] * n_good + list(PLANTED) * n_each
    return solar.planted("mono", side, n_train, kinds, s, salt=30)


def real(s):
    """Monocrystalline cells of all designs with the defects they came with."""
    return solar.load("mono", side, n_train, n_good, 3 * n_each, s, "all")


ARENA = {"mono, planted defects": planted, "mono, real, all designs": real}
if scale == "smoke":
    ARENA = {"mono, planted defects": planted}
if scale == "paper":
    ARENA = {
        name: lambda s, name=name: folders.load(MVTEC, name, size=side)
        for name in folders.categories(MVTEC)
    }


def conditions(data, s):
    yield "clean", data.test
    for kind in KINDS:
        yield kind, corrupt(data.test, kind, 5, seed=s)
    yield "contrast, bytes", corrupt(data.test, "contrast", 5, levels=256)


# %% [markdown]
# ## Four ways to look
#
# **PatchCore**, unadapted: the distance of a patch to its nearest memory entry. **TTAD**: the same after its network has followed the shifted pictures
# (page 33 chose epochs, learning rate and what stays frozen, on other seeds). In the place of RD4AD, **reverse distillation** at our scale: a frozen
# *teacher* sees the picture at strides 4, 8 and 16; a small *student* sees only a squeezed version of what the teacher saw and tries to give
# it back. Trained on normal pictures, it fails on defects: the map is $1-\cos$ between the two, summed over strides.
#
# And **GNL** (Cao et al., ICCV 2023), which is reverse distillation with two additions. *Consistency*: while training, the squeezed code and the finest map of a picture
# and of an altered view of it are pulled together. *EFDM*, exact feature distribution matching: at test time the values of each early feature channel are
# exchanged, rank by rank, for those of a training picture. With $x_{(r)}$ the $r$-th smallest value of a channel and $t_{(r)}$ that of the training picture,
#
# $$x_{(r)} \leftarrow (1-\alpha)\,x_{(r)} + \alpha\, t_{(r)}, \qquad \alpha = \tfrac12.$$
#
# Places keep their order and get other values. (This is one-dimensional optimal transport once more, page 01: sorted to sorted.)

# %%
n_entries = pick(scale, smoke=60, laptop=500, paper=2090)
n_epochs = pick(scale, smoke=1, laptop=3, paper=10)
frozen, lr = pick(scale, smoke=4, laptop=4, paper=0), 0.003
width = pick(scale, smoke=8, laptop=24, paper=128)  # of the student
n_lessons = pick(scale, smoke=1, laptop=10, paper=20)  # its epochs

build = wide_resnet50_2 if scale == "paper" else efficientnet_lite0
net = build(stages=(8, 16), device=device())
teacher = build(stages=(4, 8, 16), device=device())

# %% [markdown]
# GNL's views are altered as in AugMix, by random chains of operations. The authors' list for MVTec AD has AutoContrast in it, which TTAD's authors call an unfair
# advantage. So four recipes of training, each asked with and without EFDM; together they tell what an advantage is made of.

# %%
RECIPES = {
    "RD": {"consistency": False},
    "GNL": {"operations": OPERATIONS},
    "GNL, no stretching": {
        "operations": [
            o for o in OPERATIONS if o not in ("autocontrast", "equalize")
        ]
    },
    "GNL, contrast too": {"operations": (*OPERATIONS, "contrast", "brightness")},
}
LIVE = ("RD", "GNL")  # the others only in the long run


def learnt(train, s, recipes):
    """PatchCore's memory, and one student a recipe."""
    ttad = TTAD(
        net, n_memory=n_entries, epochs=n_epochs, frozen=frozen, lr=lr, seed=s
    )
    lessons = {"width": width, "epochs": n_lessons, "seed": s}
    students = {r: GNL(teacher, **lessons, **RECIPES[r]) for r in recipes}
    return ttad.fit(train), {r: g.fit(train) for r, g in students.items()}


def asked(student, match):
    """The same student, with or without EFDM."""
    other = copy.copy(student)
    other.match = match
    return other


def look(ttad, students, images, clean=False):
    """Yield (method, EFDM, scores); clean pictures are not adapted to, as in print."""
    images = images.to(device())
    yield "PatchCore", False, ttad.score(images)
    yield "TTAD", False, (ttad if clean else ttad.adapt(images)).score(images)
    for recipe, student in students.items():
        for match in (False, True):
            yield recipe, match, asked(student, match).score(images)


# %%
def judged(name, s, recipes, keep=None):
    """Rows of AUROCs of one class and seed; `keep` collects all that led to them."""
    data = ARENA[name](s)
    ttad, students = learnt(data.train.to(device()), s, recipes)
    if keep is not None:
        keep |= {"data": data, "ttad": ttad, "students": students}
    for condition, images in conditions(data, s):
        key = {"class": name, "seed": s, "condition": condition}
        for method, match, scores in look(
            ttad, students, images, condition == "clean"
        ):
            row = key | {"method": method, "EFDM": match}
            row["image"] = 100 * image_auroc(scores.image_scores.cpu(), data.labels)
            if data.masks is not None:
                row["pixel"] = 100 * pixel_auroc(scores.maps.cpu(), data.masks)
            if keep is not None:
                keep[condition, method, match] = scores.maps.cpu().numpy()
            yield row


n_seeds = pick(scale, smoke=2, laptop=5)
SEEDS = range(seed, seed + n_seeds)
maps = {}
live = list(judged(next(iter(ARENA)), seed, LIVE, maps))

# %% [markdown]
# Further classes, for Figure 8: a texture and two more that nearly everybody recognises. They must face the same rule as page 30's, on held-out seeds.

# %%
n_further = pick(scale, smoke=6, laptop=60)
FURTHER = {
    "wood": lambda s: textures.load(
        "wood", side, n_further, n_good, n_each, PLANTED, seed=s
    ),
    "leather": lambda s: textures.load(
        "leather", side, n_further, n_good, n_each, PLANTED, seed=s
    ),
    "transistor": lambda s: scenes.load(
        "transistor", side, n_further, n_good, 2, STRUCTURAL, seed=s
    ),
}
STRUCTURAL = scenes.STRUCTURAL["transistor"]
FURTHER = dict(list(FURTHER.items())[: pick(scale, smoke=1, laptop=3)])
if scale == "paper":
    FURTHER = dict(list(ARENA.items())[1:4])


def trial(s):
    for name, load in FURTHER.items():
        data = load(s)
        ttad, _ = learnt(data.train.to(device()), s, ())
        for condition, images in conditions(data, s):
            found = ttad.score(images.to(device())).image_scores.cpu()
            row = {"class": name, "seed": s, "condition": condition}
            yield row | {"image": 100 * image_auroc(found, data.labels)}


def grid():
    """The long run: everything on all seeds, and the further classes on held-out ones."""
    rows, done = pick(scale, smoke=(list(live), 1), laptop=([], 0))
    for k, name in enumerate(ARENA):  # all recipes on the first class
        recipes = LIVE if k or scale == "smoke" else RECIPES
        rows += [row for s in SEEDS[done:] for row in judged(name, s, recipes)]
    held_out = range(pick(scale, smoke=1, laptop=2))
    return {"rows": rows, "trial": [row for s in held_out for row in trial(s)]}


# %% tags=["hide-input"]
if scale == "laptop" and not long:
    run = ledger.stored("35_ttad_qualitative")
    found = run.value
else:
    found = grid()
    if long:
        ledger.store(found)
scores, trials = pd.DataFrame(found["rows"]), pd.DataFrame(found["trial"])
KEY = ["class", "seed", "condition", "method", "EFDM"]

# %% [markdown]
# What follows is stored where it is a number over seeds, and live where it is a map or a number of the first seed. Unadapted scores must agree on any machine; what training has amplified is
# told. (Students trained from scratch amplify most: two processors give them other weights, and other scores by several points.)

# %% tags=["remove-input"]
if scale == "laptop" and not long:
    ledger.say(run.sentence())
    ledger.agreement(
        "35",
        live,
        found["rows"],
        cell=KEY,
        scores=["image", "pixel"],
        untrained=lambda row: (
            row["method"] == "PatchCore"
            or (row["method"], row["condition"]) == ("TTAD", "clean")
        ),
        rounding=100 / (n_good * 3 * n_each),  # an exchanged pair of pictures
    )

# %% [markdown]
# ## The maps (Figure 4)
#
# The paper's columns, and GNL: the shifted picture, its mask, the map without adaptation, reverse distillation (RD), TTAD, GNL, and what PatchCore says of the clean
# picture, which is where TTAD would like to arrive. Beneath a map stands the average precision of its pixels (AP; page 14), then where its colours begin and end:
# at the smallest and the largest value that this method gives to *any* of the thirty pictures under this corruption, good ones included.
# No map is stretched for itself. The rule for a row: of all defective pictures under a corruption, the one whose gain in AP by adapting is the median.

# %%
first, data = next(iter(ARENA)), maps["data"]
shifted, masks = dict(conditions(data, seed)), data.masks.numpy()
WAYS = {
    "unadapted": ("PatchCore", False),
    "RD": ("RD", False),
    "TTAD": ("TTAD", False),
    "GNL": ("GNL", True),
}


def column(way, condition):
    """All maps of one column under one corruption."""
    if way == "on clean":
        return maps["clean", "PatchCore", False]
    return maps[condition, *WAYS[way]]


ap = pd.DataFrame(
    {"condition": condition, "i": i, "kind": data.kinds[i]}
    | {
        way: average_precision(column(way, condition)[i], masks[i])
        for way in (*WAYS, "on clean")
    }
    for condition in KINDS
    for i in np.flatnonzero(masks.any((1, 2)))
)
ap["gain"] = ap["TTAD"] - ap["unadapted"]


def by_gain(q):
    """One row a corruption: the picture at a quantile of the gain."""
    at = {
        c: (g["gain"] - g["gain"].quantile(q, interpolation="lower")).abs().idxmin()
        for c, g in ap.groupby("condition", sort=False)
    }
    return [ap.loc[at[c]] for c in KINDS]


# %% tags=["hide-input"]
def outline(ax, mask):
    if mask.any() and not mask.all():
        ax.contour(mask, levels=[0.5], colors=plotting.OUTLINE, linewidths=1.2)


def show_rows(rows, alt, shows):
    """A row a picture: (label, picture, mask, {column: (all maps of the scale, index)})."""
    titles = ["picture", "mask", *rows[0][3]]
    w = 9.4 / len(titles)
    fig, axes = plt.subplots(
        len(rows),
        len(titles),
        figsize=(9.4, (w + 0.15) * len(rows) + 0.1),
        layout="constrained",
        squeeze=False,
    )
    for line, (label, picture, mask, ways) in zip(axes, rows, strict=True):
        draw(line[0], np.moveaxis(np.asarray(picture), 0, -1), vmin=0, vmax=1)
        outline(line[0], mask)
        draw(line[1], mask, cmap="gray", vmin=0, vmax=1)
        line[0].set_ylabel(label, fontsize=8.5)
        for ax, (m, i) in zip(line[2:], ways.values(), strict=True):
            low, high = float(m.min()), float(m.max())
            draw(ax, m[i], vmin=low, vmax=high)
            score = average_precision(m[i], mask)
            ax.set_xlabel(f"AP {score:.2f} | {low:.2g}–{high:.2g}", fontsize=8)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9.5)
    plotting.show(fig, alt=alt, shows=shows)


def row_of(r):
    ways = {w: (column(w, r.condition), r.i) for w in (*WAYS, "on clean")}
    label = f"{r.condition}\n{r.kind}"
    return label, shifted[r.condition][r.i], masks[r.i], ways


show_rows(
    [row_of(r) for r in by_gain(0.5)],
    alt="Four solar cells, one a corruption, with the outline of a planted defect, its mask, and five maps: unadapted PatchCore, reverse distillation, TTAD, GNL, "
    "and PatchCore on the clean picture. On clean the defect is the brightest spot. Unadapted maps are bright along busbars and rim. TTAD's find the defect under brightness "
    "and elsewhere glow in the corners; GNL's under contrast is as clear as the last column.",
    shows=["ttad Figure 4"],
)

# %% tags=["remove-input"]
ledger.say(solar.NOTICE)

# %% [markdown]
# Read the second numbers too. Under noise an unadapted map begins where a clean one nearly ends: everything is far from the memory, and the defect is no farther than the rest.
#
# All of it in one number each: pixel AUROC over all pictures, averaged over seeds. (Page 33 has it for TTAD's rivals, beside the paper's Table 3.)

# %%
ORDER = ["clean", *KINDS]
labels = {v: k for k, v in WAYS.items()}
named = scores.assign(
    way=[
        labels.get(pair)
        for pair in zip(scores["method"], scores["EFDM"], strict=True)
    ]
)
pixel = named[named["class"] == first].pivot_table(
    index="way", columns="condition", values="pixel", sort=False
)
pixel = pixel.loc[list(WAYS), ORDER]

# %% tags=["hide-input"]
ledger.record("p35_pixel", pixel.T.to_dict(), tolerance=0.02)
plotting.table(
    pixel.rename_axis(None),
    caption=f"Pixel AUROC (%), planted defects, mean over {n_seeds} seeds",
    formats="{:.1f}",
)

# %% [markdown]
# ## Every picture, before and after
#
# A dot a defective picture of the first seed, its AP without adaptation to the right, by TTAD up; above the diagonal adaptation helped. The axes are logarithmic, for
# most of it happens near zero, and the dotted lines mark the share of defective pixels, which a map that knows nothing gets. Look for the dots far above both.

# %% tags=["hide-input"]
fig, axes = plt.subplots(
    1, 4, figsize=(9.4, 2.95), layout="constrained", sharex=True, sharey=True
)
kinds = sorted(ap["kind"].unique())
prevalence = float(masks[masks.any((1, 2))].mean())
low = 0.7 * float(ap[["unadapted", "TTAD"]].min().min())
for ax, condition in zip(axes, KINDS, strict=True):
    for kind, color, marker in zip(
        kinds, [BLUE, RED, GREEN, PINK, ORANGE] * 9, "osD^v" * 9, strict=False
    ):
        dots = ap[(ap["condition"] == condition) & (ap["kind"] == kind)]
        ax.plot(
            dots["unadapted"],
            dots["TTAD"],
            marker,
            color=color,
            ms=5,
            alpha=0.8,
            label=kind,
        )
    ax.plot([low, 1], [low, 1], color="0.6", lw=1)
    ax.axvline(prevalence, ls=":", color="0.5", lw=1)
    ax.axhline(prevalence, ls=":", color="0.5", lw=1)
    ax.set(xscale="log", yscale="log", xlim=(low, 1.3), ylim=(low, 1.3))
    ax.set_title(condition, fontsize=10)
    ax.set_box_aspect(1)
axes[0].set_ylabel("AP by TTAD")
fig.supxlabel("AP without adaptation", fontsize=10)
handles, names = axes[0].get_legend_handles_labels()
fig.legend(handles, names, loc="outside upper center", ncols=len(names), fontsize=9)
plotting.show(
    fig,
    alt="Four panels, one a corruption, of each picture's average precision by TTAD against that without adaptation, coloured by kind of defect, on logarithmic axes. Under "
    "brightness most dots lie far above the diagonal; under noise, blur and contrast they lie along it, at the lower left.",
)
per = ap.groupby("condition", sort=False)
summary = pd.DataFrame(
    {
        "better": per["gain"].apply(lambda g: int((g > 0.01).sum())),
        "worse": per["gain"].apply(lambda g: int((g < -0.01).sum())),
        "AP, unadapted": per["unadapted"].mean(),
        "AP, TTAD": per["TTAD"].mean(),
        "AP, GNL": per["GNL"].mean(),
        "AP, on clean": per["on clean"].mean(),
    }
)
whole = ["AP, unadapted", "AP, on clean"]  # no training stands behind these
ledger.record("p35_dots", summary[whole].T.to_dict(), tolerance=0.1)
ledger.record(
    "p35_dots_trained",
    summary.drop(columns=whole).T.to_dict(),
    timing=True,  # another processor trains another student
    bounds=(0, len(masks)),
)
ledger.record("p35_defective", int(masks.any((1, 2)).sum()))
plotting.table(
    summary.rename_axis(None),
    caption="Defective pictures whose AP rises or falls by more than 0.01, and mean AP",
    formats="{:.2f}",
)

# %% [markdown]
# ## Failures
#
# The other end of the rule: for each corruption the picture that *lost* the most by adapting.

# %% tags=["hide-input"]
show_rows(
    [row_of(r) for r in by_gain(0)],
    alt="The same seven columns for the four pictures whose average precision fell the most: TTAD's maps are brightest in the corners of the cell, with "
    "a weaker spot on the defect or none.",
    shows=["ttad Figure 4"],
)

# %% [markdown]
# Mind the corners. A cell has four, dark and rare, and the brightest spots of TTAD's maps like to sit there. The image score is the largest value of all,
# so a corner that outshines the defect decides. How often does the peak of a map fall on the defect (or within 4 pixels of it), and how often into the outer ring, an eighth of the side wide?

# %%
ring = np.ones((side, side), bool)
ring[side // 8 : -(side // 8), side // 8 : -(side // 8)] = False
wide = F.max_pool2d(data.masks[:, None].float(), 9, 1, 4)[:, 0].numpy() > 0
bad = np.flatnonzero(masks.any((1, 2)))
rows = []
for condition in KINDS:
    row = {"condition": condition}
    for place in ("on defect", "in ring"):
        for way in ("unadapted", "TTAD", "GNL"):
            m = column(way, condition)
            hits = [
                (wide[i] if place == "on defect" else ring).flat[m[i].argmax()]
                for i in bad
            ]
            row[f"{place}, {way}"] = 100 * float(np.mean(hits))
    rows.append(row)
peaks = pd.DataFrame(rows).set_index("condition")

# %% tags=["hide-input"]
plain = [c for c in peaks if c.endswith("unadapted")]
ledger.record("p35_peaks", peaks[plain].T.to_dict(), tolerance=0.1)
ledger.record(
    "p35_peaks_trained",
    peaks.drop(columns=plain).T.to_dict(),
    timing=True,  # another processor trains another student
    bounds=(0, 100),
)
ledger.record("p35_ring", float(ring.mean()))
plotting.table(
    peaks.rename_axis(None),
    caption="Defective pictures (%) whose map peaks on the defect, and in the outer ring; first seed",
    formats="{:.0f}",
)

# %% tags=["remove-input"]
ledger.say(
    "The ring is {p35_ring:.0%} of the area. Without adaptation {p35_peaks[contrast][in ring, unadapted]:.0f} % of the maps peak there under contrast, with it {p35_peaks_trained[contrast][in ring, TTAD]:.0f} %; under "
    "brightness {p35_peaks[brightness][in ring, unadapted]:.0f} % and {p35_peaks_trained[brightness][in ring, TTAD]:.0f} %, while the share that peaks on the defect rises from "
    "{p35_peaks[brightness][on defect, unadapted]:.0f} % to {p35_peaks_trained[brightness][on defect, TTAD]:.0f} %. Adaptation repairs the middle of a cell; the rim stays "
    "behind."
)

# %% [markdown]
# What else went wrong is a matter of two averages. TTAD pulls every patch to the memory, and page 31 showed that Eq. 6 leaves no patch out: a defect keeps
# at least one link, too. So normal and anomalous patches both come nearer. What counts is the ratio of the two, and whether it ends above 1.

# %%
rows = []
for condition in ORDER:
    for way in ("unadapted", "TTAD"):
        m = column(way, condition)
        row = {"condition": condition, "way": way}
        rows.append(
            row | {"normal": m[~masks].mean(), "anomalous": m[masks].mean()}
        )
near = pd.DataFrame(rows).astype({"normal": float, "anomalous": float})
near["ratio"] = near["anomalous"] / near["normal"]
near = near.pivot_table(
    index="condition", columns="way", values=["normal", "anomalous", "ratio"]
).loc[ORDER]
near.columns = [f"{value}, {way}" for value, way in near.columns]
near = near[
    [
        f"{v}, {w}"
        for v in ("normal", "anomalous", "ratio")
        for w in ("unadapted", "TTAD")
    ]
]

# %% tags=["hide-input"]
ledger.record("p35_near", near.T.to_dict(), tolerance=0.05)
plotting.table(
    near.rename_axis(None),
    caption="Mean value of a map on normal and on anomalous pixels, first seed",
    formats="{:.2f}",
)

# %% tags=["remove-input"]
ledger.say(
    "Adapting to brightness takes normal pixels from {p35_near[brightness][normal, unadapted]:.1f} to {p35_near[brightness][normal, TTAD]:.1f} and "
    "anomalous ones from {p35_near[brightness][anomalous, unadapted]:.1f} to {p35_near[brightness][anomalous, TTAD]:.1f}: the ratio goes from "
    "{p35_near[brightness][ratio, unadapted]:.2f} to {p35_near[brightness][ratio, TTAD]:.2f}, where the clean one is "
    "{p35_near[clean][ratio, unadapted]:.2f}. Under contrast it goes from {p35_near[contrast][ratio, unadapted]:.2f} to {p35_near[contrast][ratio, TTAD]:.2f}, under "
    "noise from {p35_near[gaussian noise][ratio, unadapted]:.2f} to {p35_near[gaussian noise][ratio, TTAD]:.2f}. A ratio below 1 is a map in "
    "negative: the defect is its calmest place. An alignment of distributions has no reason to turn a negative into a positive."
)

# %% [markdown]
# ## More classes (Figure 8)
#
# First the rule of the arena, on seeds 0 and 1: clean at least 90 %, and two corruptions that cost 10 points. Whoever fails it is shown all the same, and named.

# %%
table = trials.pivot_table(
    index="class", columns="condition", values="image", sort=False
)[ORDER]
lost = table["clean"].to_numpy()[:, None] - table[list(KINDS)]
passes = (table["clean"] >= 90) & ((lost >= 10).sum(axis=1) >= 2)

# %% tags=["hide-input"]
ledger.record("p35_trial", table.T.to_dict(), tolerance=0.02)
ledger.record("p35_passed", "; ".join(table.index[passes]) or "none")
plotting.table(
    table.assign(passes=np.where(passes, "yes", "no")).rename_axis(None),
    caption="Image AUROC (%) of PatchCore on held-out seeds",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "Passed: {p35_passed}. The others are missed too often before anything happens to them, at this size and with a network this small, so that their rows show maps and "
    "prove nothing."
)

# %% [markdown]
# The classes take turns at the corruptions, contrast first. The row is again the picture with the median gain. Columns and colours as above.

# %%
rows = []
for (name, load), condition in zip(
    FURTHER.items(), ("contrast", "brightness", "defocus blur"), strict=False
):
    other = load(seed)
    there, students = learnt(other.train.to(device()), seed, ("RD",))
    images = corrupt(other.test, condition, 5, seed=seed)
    on = images.to(device())
    ways = {
        "unadapted": there.score(on),
        "RD": asked(students["RD"], False).score(on),
        "TTAD": there.adapt(on).score(on),
        "on clean": there.score(other.test.to(device())),
    }
    m = {way: s.maps.cpu().numpy() for way, s in ways.items()}
    truth = other.masks.numpy()
    bad = np.flatnonzero(truth.any((1, 2)))
    gain = [
        average_precision(m["TTAD"][i], truth[i])
        - average_precision(m["unadapted"][i], truth[i])
        for i in bad
    ]
    i = bad[np.argsort(gain, kind="stable")[(len(bad) - 1) // 2]]
    label = f"{name}: {condition}\n{other.kinds[i].replace('_', ' ')}"
    rows.append((label, images[i], truth[i], {w: (v, i) for w, v in m.items()}))

# %% tags=["hide-input"]
show_rows(
    rows,
    alt="Wood under contrast, leather under brightness and a drawn transistor under blur: picture, mask, maps of unadapted PatchCore, reverse distillation and TTAD, and "
    "PatchCore's map of the clean picture. On clean the defects of wood and leather stand out; under the shift only reverse distillation on leather finds one.",
    shows=["ttad Figure 8"],
)

# %% [markdown]
# ## What contrast does
#
# Contrast 5 keeps a twentieth: $x \mapsto 0.05\,(x-\bar x)+\bar x$, with $\bar x$ the mean of the picture. As a formula it is the mildest of the four. It draws nothing at random,
# mixes no pixels and clips nothing; multiply by twenty, and the picture is back. Unless it was stored.


# %%
def stretched(images, clean):
    """Undo contrast 5, given the mean of the clean picture."""
    mean = clean.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) / 0.05 + mean).clamp(0, 1)


faint, stored_faint = shifted["contrast"], shifted["contrast, bytes"]
VERSIONS = {
    "clean": data.test,
    "contrast": faint,
    "contrast, stretched": stretched(faint, data.test),
    "bytes, stretched": stretched(stored_faint, data.test),
}
ttad = maps["ttad"]
rows, versions = [], {}
for name, images in VERSIONS.items():
    found = ttad.score(images.to(device()))
    versions[name] = found.maps.cpu().numpy()
    few = stored_faint if name.startswith("bytes") else images
    levels = [len(x[0].unique()) for x in few]
    rows.append(
        {
            "picture": name,
            "range": float(
                (images.amax((1, 2, 3)) - images.amin((1, 2, 3))).mean()
            ),
            "grey levels": int(np.median(levels)),
            "image AUROC": 100 * image_auroc(found.image_scores.cpu(), data.labels),
            "pixel AUROC": 100 * pixel_auroc(found.maps.cpu(), data.masks),
        }
    )
undone = pd.DataFrame(rows)

# %% tags=["hide-input"]
ledger.record("p35_undone", undone.set_index("picture").T.to_dict(), tolerance=0.02)
plotting.table(
    undone,
    caption="PatchCore, unadapted, first seed; grey levels: the median picture's number of different values",
    formats={
        "range": "{:.2f}",
        "image AUROC": "{:.1f}",
        "pixel AUROC": "{:.1f}",
    },
)
i = int(by_gain(0.5)[list(KINDS).index("contrast")].i)
fig, axes = plt.subplots(2, 4, figsize=(8.6, 4.5), layout="constrained")
low = min(float(m.min()) for m in versions.values())
high = max(float(m.max()) for m in versions.values())
for k, (name, images) in enumerate(VERSIONS.items()):
    draw(axes[0, k], images[i].permute(1, 2, 0).numpy(), name, vmin=0, vmax=1)
    outline(axes[0, k], masks[i])
    drawn = draw(axes[1, k], versions[name][i], vmin=low, vmax=high)
axes[1, 0].set_ylabel("distance to the memory", fontsize=9)
fig.colorbar(drawn, ax=axes[1], shrink=0.8, aspect=15)
plotting.show(
    fig,
    alt="A solar cell clean, at contrast 5, stretched back from floats and stretched back from bytes, with PatchCore's map of each on one colour scale. Floats stretched "
    "back look like the clean cell and so does their map; bytes stretched back show steps of grey.",
)

# %% tags=["remove-input"]
ledger.say(
    "As floats, nothing was lost: stretched back, PatchCore has {p35_undone[contrast, stretched][image AUROC]:.1f} again, where the faint picture has "
    "{p35_undone[contrast][image AUROC]:.1f}. Bytes keep {p35_undone[bytes, stretched][grey levels]:.0f} grey levels of the median cell and give "
    "{p35_undone[bytes, stretched][image AUROC]:.1f} (pixels: {p35_undone[bytes, stretched][pixel AUROC]:.1f}, floats "
    "{p35_undone[contrast, stretched][pixel AUROC]:.1f}). So the paper's explanation, *low visibility of defects*, is true of eyes. As long as nobody rounds, "
    "the defects are in the file, and one multiplication brings them back. What fails is the feature extractor."
)

# %% [markdown]
# How does it fail? Three distances between patch features, each as a multiple of its clean value: of a patch to the memory, normal and anomalous apart; and
# of two random patches *of the same picture* to each other. Then, in units of the clean distance to the memory, how far a patch has *moved* from its own clean self, and how long
# the mean of these moves is over a picture: what its patches have *moved together*.


# %%
def patches(images):
    """Features (N, patches, C), one row of patches a picture."""
    points = ttad.patches(images.to(device())).cpu()
    return points.view(len(images), -1, points.shape[-1])


marked = F.avg_pool2d(data.masks[:, None].float(), 8).flatten(1)
pair = torch.randperm(
    marked.shape[1], generator=torch.Generator().manual_seed(seed)
)
own, rows = patches(data.test), []
for condition, images in shifted.items():
    z = patches(images)
    d = distances(z.flatten(0, 1), ttad.memory_.cpu()).amin(1).view(len(z), -1)
    row = {
        "condition": condition,
        "to memory, normal": d[marked == 0],
        "to memory, anomalous": d[marked >= 0.25],
        "within a picture": (z - z[:, pair]).norm(dim=2),
        "moved": (z - own).norm(dim=2),
        "moved together": (z - own).mean(1).norm(dim=1),
    }
    rows.append(
        {k: v if k == "condition" else float(v.mean()) for k, v in row.items()}
    )
apart = pd.DataFrame(rows).set_index("condition")
unit = apart.loc["clean"].copy()
unit[["moved", "moved together"]] = unit["to memory, normal"]
apart = apart / unit

# %% tags=["hide-input"]
ledger.record("p35_apart", apart.T.to_dict(), tolerance=0.05)
plotting.table(
    apart.rename_axis(None),
    caption="Mean distances, in units of the clean one; first seed",
    formats="{:.2f}",
)

# %% tags=["remove-input"]
ledger.say(
    "**Distances grow and shrink at once.** Under contrast a normal patch is {p35_apart[contrast][to memory, normal]:.1f} times as far from the memory as it was, and an anomalous one "
    "{p35_apart[contrast][to memory, anomalous]:.1f} times, while two patches of one picture are {p35_apart[contrast][within a picture]:.2f} times as far apart. A picture moves off, by "
    "{p35_apart[contrast][moved]:.1f} units a patch of which {p35_apart[contrast][moved together]:.1f} are common to all its patches, to where flat grey lives, and huddles there. The difference between a defect and its "
    "surroundings is a distance *within* a picture, and the trip has become the larger of the two. Brightness is as long a trip, {p35_apart[brightness][moved]:.1f} units, but leaves "
    "{p35_apart[brightness][within a picture]:.2f} of the distances within: a cloud that has been moved can be moved back, which is what TTAD does best, and a cloud that has "
    "been crushed has to be blown up as well. Noise moves by {p35_apart[gaussian noise][moved]:.1f} and crushes to {p35_apart[gaussian noise][within a picture]:.2f}. (Blur does not fit in: it leaves "
    "{p35_apart[defocus blur][within a picture]:.2f}, and is hard because the fine structure has left the picture.)"
)

# %% [markdown]
# ## GNL shrugs it off
#
# Table 1 of the paper for the methods of this page, and ours. In print GNL leads on contrast by a little; RD4AD, from which it is built, has no such lead.

# %%
PAPER = dict(
    zip(
        ORDER,
        ("clean", "gaussian_noise", "defocus_blur", "brightness", "contrast"),
        strict=True,
    )
)
PRINTED = {"unadapted": "patchcore", "RD": "rd4ad", "TTAD": "ttad", "GNL": "gnl"}


def printed(way, dataset):
    rows = ledger.numbers(
        paper="ttad", table="Table 1", method=PRINTED[way], dataset=dataset
    )
    return {
        c: float(rows[rows["setting"].str.contains(word)]["number"].iloc[0])
        for c, word in PAPER.items()
    }


image = named.dropna(subset="way").pivot_table(
    index=["class", "way"], columns="condition", values="image", sort=False
)
image = image[[*ORDER, "contrast, bytes"]]
rows = []
for dataset, label in (("mvtec_ad", "MVTec AD"), ("realiad", "Real-IAD")):
    rows += [
        {"data": f"{label}, printed", "method": w} | printed(w, dataset)
        for w in WAYS
    ]
for name in ARENA:
    rows += [
        {"data": name, "method": w} | image.loc[(name, w), ORDER].to_dict()
        for w in WAYS
    ]

# %% tags=["hide-input"]
ledger.record(
    "p35_image",
    {f"{c}: {w}": row.to_dict() for (c, w), row in image.iterrows()},
    tolerance=0.02,
)
plotting.table(
    pd.DataFrame(rows).replace("unadapted", "PatchCore"),
    caption=f"Image AUROC (%), severity 5; ours: mean over {n_seeds} seeds",
    formats="{:.1f}",
    shows=["ttad Table 1"],
)
beaten = {
    where: sum(a[c] > b[c] for a, b in pairs for c in KINDS)
    for where, pairs in {
        "here": [(image.loc[(first, "TTAD")], image.loc[(first, "RD")])],
        "print": [
            (printed("TTAD", d), printed("RD", d)) for d in ("mvtec_ad", "realiad")
        ],
    }.items()
}
ledger.record("p35_over_rd", beaten | {"of": len(KINDS)})

# %% tags=["remove-input"]
ledger.say(
    "Not only GNL is ahead. Plain reverse distillation, which adapts to nothing, is beaten by TTAD in {p35_over_rd[print]} of 8 cells in print, and in {p35_over_rd[here]} of "
    "{p35_over_rd[of]} here: with this network a cosine between teacher and student mostly survives a shift better than a distance to a memory does, adapted or not. (TTAD's settings "
    "are those of page 33, where rates and epochs are varied.)"
)

# %% [markdown]
# Which of its two additions is it? The four recipes of training, without and with EFDM. *No stretching* leaves AutoContrast and Equalize out of the altered
# views; *contrast too* puts contrast and brightness in, which is to tell the answer (as far as 0.12 of the contrast; the test has 0.05).

# %%
kept = scores[(scores["class"] == first) & scores["method"].isin(RECIPES)]
parts = kept.pivot_table(
    index=["method", "EFDM"], columns="condition", values="image", sort=False
)[[*ORDER, "contrast, bytes"]]
parts = parts.rename(index={False: "no", True: "yes"}, level="EFDM")

# %% tags=["hide-input"]
ledger.record(
    "p35_parts",
    {f"{m}, EFDM {e}": row.to_dict() for (m, e), row in parts.iterrows()},
    tolerance=0.02,
)
flat = parts.reset_index().rename(columns={"method": "training"})
plotting.table(
    flat.assign(training=flat["training"] + ", EFDM: " + flat["EFDM"]).drop(
        columns="EFDM"
    ),
    caption=f"Image AUROC (%), planted defects, mean over {n_seeds} seeds",
    formats="{:.1f}",
)


# %%
def cell(method, match, condition, name=None):
    """Image AUROC by seed (of one class), or by class and seed."""
    rows = scores[
        (scores["method"] == method)
        & (scores["EFDM"] == match)
        & (scores["condition"] == condition)
    ].set_index(["class", "seed"])["image"]
    return rows if name is None else rows[name]


def against(minuend, subtrahend, condition="contrast"):
    """Mean difference and interval over seeds on the first class."""
    d = cell(*minuend, condition, first) - cell(*subtrahend, condition, first)
    return list(ledger.t_interval(d.tolist()))


effects = {
    "EFDM": against(("RD", True), ("RD", False)),
    "views": against(("GNL", False), ("RD", False)),
    "views, with EFDM": against(("GNL", True), ("RD", True)),
    "EFDM under noise": against(("RD", True), ("RD", False), "gaussian noise"),
}
if "GNL, no stretching" in RECIPES and scale != "smoke":
    effects["stretching"] = against(("GNL", False), ("GNL, no stretching", False))
    effects["stretching, with EFDM"] = against(
        ("GNL", True), ("GNL, no stretching", True)
    )
    effects["being told"] = against(("GNL, contrast too", False), ("RD", False))

# %% tags=["hide-input"]
ledger.record("p35_effects", effects, tolerance=0.1)
plotting.table(
    pd.DataFrame(effects, index=["mean", "low", "high"]).T,
    caption="Points of image AUROC gained, under contrast unless said; 95 % intervals over seeds, planted defects",
    formats="{:+.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "Exchanging values for those of a training picture gains {p35_effects[EFDM][0]:+.1f} points [{p35_effects[EFDM][1]:+.1f}, {p35_effects[EFDM][2]:+.1f}] on a student that has "
    "never seen an altered view. Altered views without EFDM are worth {p35_effects[views][0]:+.1f} [{p35_effects[views][1]:+.1f}, {p35_effects[views][2]:+.1f}], and on top of EFDM "
    "{p35_effects[views, with EFDM][0]:+.1f} [{p35_effects[views, with EFDM][1]:+.1f}, {p35_effects[views, with EFDM][2]:+.1f}]. **The lead is made at test time.** The reason is in the section above: contrast is a "
    "monotone change of values, and matching sorted values undoes monotone changes. Noise is not one, and there the exchange gains {p35_effects[EFDM under noise][0]:+.1f} "
    "[{p35_effects[EFDM under noise][1]:+.1f}, {p35_effects[EFDM under noise][2]:+.1f}]."
)
if "stretching" in effects:
    ledger.say(
        "And the *unfair advantage*? Stretching among the altered views is worth {p35_effects[stretching][0]:+.1f} points [{p35_effects[stretching][1]:+.1f}, "
        "{p35_effects[stretching][2]:+.1f}] without EFDM and {p35_effects[stretching, with EFDM][0]:+.1f} [{p35_effects[stretching, with EFDM][1]:+.1f}, "
        "{p35_effects[stretching, with EFDM][2]:+.1f}] with it; being told the answer outright {p35_effects[being told][0]:+.1f} [{p35_effects[being told][1]:+.1f}, "
        "{p35_effects[being told][2]:+.1f}]. Here, at least, GNL does not owe its lead to AutoContrast. What it does need, and TTAD does not, is a training picture at test time: one."
    )

# %% [markdown]
# ## Verdict
#
# GNL less TTAD under contrast of severity 5, planted defects, from the stored rows.

# %%
POINT = 1.0  # of AUROC, the smallest difference that matters: page 30
lead = cell("GNL", True, "contrast") - cell("TTAD", False, "contrast")
on_bytes = cell("GNL", True, "contrast, bytes") - cell(
    "TTAD", False, "contrast, bytes"
)

# %% tags=["hide-input"]
beside = {
    "lead": lead.groupby("class").mean().to_dict(),
    "lead_bytes": on_bytes.groupby("class").mean().to_dict(),
}
for name, of_class in beside.items():
    ledger.record(f"p35_{name}", of_class, tolerance=0.05)
flagged = [f"{v:+.1f}" for c, v in beside["lead"].items() if c != first]
flagged = f" (on the flagged class {', '.join(flagged)})" if flagged else ""
ledger.verdict(
    "ttad-06",
    {"contrast: GNL > TTAD": lead[first].tolist()},
    "a seed draws the cells, the damage, the memory, the student and the views",
    "points of image AUROC",
    f"With contrast stored as bytes GNL leads by {beside['lead_bytes'][first]:+.1f}{flagged}. GNL at laptop scale: EfficientNet-Lite0, a small student; not MVTec AD. TTAD after nine steps; the paper takes "
    f"about 120. The claim's reason, contrast-like augmentation, is not what we find: EFDM on plain reverse distillation already gains {effects['EFDM'][0]:+.1f} points, the altered views on top of it {effects['views, with EFDM'][0]:+.1f}.",
    smallest_effect=POINT,
    effect_reason="half of the printed steps between the transport rows of Table 4 are smaller",
)

# %% [markdown]
# ## Paper against code
#
# **TTAD's** code is not public. Its figures do not say how pictures were selected nor how colours were scaled; maps stretched one by one look far more alike than ours.
# The appendix finds that *all methods yield the worst performance on contrast*; in Table 1, above, GNL on MVTec AD does not.
#
# **GNL's** code is. TTAD's text says that EFDM takes *randomly sampled* training pictures; the code takes one, the first file of the training folder, for all. (Ours: one, drawn by the seed.)
# GNL's authors corrupt with severity 3, TTAD with 5. Their list of operations for MVTec AD contains AutoContrast and Equalize, as TTAD's authors say, but not contrast
# or brightness, which are marked as overlapping with the test corruptions and are used on another data set. A second view, in grey, is left out here: cells are grey. Cosines
# are taken of whole maps, flattened, in the code, and place by place in the paper of reverse distillation and here.
#
# ## What it costs
#
# Seconds an image, everything included, on one thread; a batch holds ten pictures with two views each. Memory is what has to be kept while a batch is processed: for adapting, everything
# that autograd saves for the way back, and four matrices of patches by entries (cost, plan, hard plan, weights); for scoring, one picture's maps and distances.


# %%
def saved(frozen):
    """Bytes that one batch of adaptation keeps for its gradient, and its rows."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    moving = copy.deepcopy(net)
    for stride, stage in moving.stages.items():
        for layer in stage.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.requires_grad_(int(stride) > frozen)
    views = faint[:10].repeat(3, 1, 1, 1).to(device())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        points = patch_features(moving(views))
    return sum(kept.values()), len(points) * points.shape[-1] * points.shape[-2]


MIB = 2**20
memory = {}
for name, depth in (("as here", frozen), ("nothing frozen", 0)):
    graph, n_rows = saved(depth)
    matrices = 4 * 4 * n_rows * n_entries
    memory[name] = {"graph": graph / MIB, "plan": matrices / MIB}
alone = sum(m[:1].numel() * 4 for m in net(faint[:1].to(device())))
scoring = (alone + 4 * n_rows // 30 * n_entries) / MIB
ledger.record("p35_memory", memory | {"scoring": scoring}, tolerance=0.1)

# %% tags=["timing"]
one = faint.to(device())
whole = copy.copy(ttad)
whole.epochs, whole.frozen = 1, 0
student = maps["students"]["RD"]
JOBS = {
    "PatchCore: score": (lambda: ttad.score(one), 1),
    f"TTAD: {n_epochs} epochs, early stages frozen": (lambda: ttad.adapt(one), 1),
    "TTAD: 10 epochs, nothing frozen (as in print)": (lambda: whole.adapt(one), 10),
    "reverse distillation: score": (
        lambda: asked(student, False).score(one),
        1,
    ),
    "GNL: score, with EFDM": (lambda: asked(student, True).score(one), 1),
}
NEEDS = [scoring, sum(memory["as here"].values())]
NEEDS += [sum(memory["nothing frozen"].values()), None, None]
rows = []
for (name, (work, times)), need in zip(JOBS.items(), NEEDS, strict=True):
    start = time.perf_counter()
    work()
    spent = times * (time.perf_counter() - start)
    rows.append(
        {
            "job": name,
            "ms an image": 1000 * spent / len(one),
            "MiB kept": np.nan if need is None else need,
        }
    )
costs = pd.DataFrame(rows)
costs["times scoring"] = costs["ms an image"] / costs["ms an image"][0]
ledger.record(
    "p35_adapt_cost", costs["times scoring"][1], timing=True, bounds=(0.5, 1e4)
)
plotting.table(
    costs,
    caption=f"{len(one)} pictures of {side} x {side}, {n_entries} memory entries; the third row is one epoch, times ten",
    formats={
        "ms an image": "{:.0f}",
        "MiB kept": "{:.1f}",
        "times scoring": "{:.1f}",
    },
    timing=True,
)

# %% tags=["remove-input"]
ledger.say(
    "Adapting keeps {p35_memory[as here][graph]:.0f} MiB for the gradient of a batch ({p35_memory[nothing frozen][graph]:.0f} with nothing frozen) and {p35_memory[as here][plan]:.0f} MiB "
    "of plans, thirty pictures' worth; scoring one picture keeps {p35_memory[scoring]:.1f}. The plan grows with the square of the resolution and with the memory, the graph with the "
    "resolution alone. And a detail that tables of milliseconds hide: TTAD cannot say anything about the first picture until it has seen the others."
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Does a rival that never adapts stay ahead where contrast is lost? GNL, trained to shrug it off, leads TTAD in image AUROC by "
    + "; ".join(
        f"{lead:+.1f} points ({name})"
        for name, lead in ledger.recorded("p35_lead").items()
    )
    + ", on solar cells.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# If matching values is all it takes, PatchCore can have it without a student, without features and without adapting: give every *pixel* the value of its rank in a
# training picture (`efdm` with $\alpha=1$), and score. What will that do to contrast, to bytes, to brightness, to noise, and to a clean picture?

# %% [markdown]
# ### Solution
#
# Contrast is undone, and clean pictures lose nothing: one cell's histogram is much like another's, and a small defect hardly shows in it. (A large one would, and be
# painted over.) Bytes come back less well, because the order within a grey level is invented. Brightness is monotone, too, except where it has clipped: there half the picture is one tie. Noise
# with other values is still noise.

# %% tags=["hide-input"]
reference = data.train[:1]
rows = []
for condition, images in shifted.items():
    matched = efdm(images, reference, 1.0)
    rows.append(
        {
            "condition": condition,
            "PatchCore": float(
                cell("PatchCore", False, condition, first).loc[seed]
            ),
            "PatchCore, pixels matched": 100
            * image_auroc(
                ttad.score(matched.to(device())).image_scores.cpu(), data.labels
            ),
            "TTAD": float(cell("TTAD", False, condition, first).loc[seed]),
            "GNL": float(cell("GNL", True, condition, first).loc[seed]),
        }
    )
solution = pd.DataFrame(rows)
ledger.record(
    "p35_solution", solution.set_index("condition").T.to_dict(), tolerance=0.02
)
plotting.table(
    solution,
    caption="Image AUROC (%), planted defects, first seed",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "A sort, and contrast is at {p35_solution[contrast][PatchCore, pixels matched]:.1f}, with no learning at all. The four corruptions of the benchmark ask for four "
    "different repairs; a method that knows none of them, as TTAD promises, is measured against ones that happen to know one."
)
