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
# Where does an adapted map light up, and where does it still not? Picture by picture, the failures included, and then the corruption that is hardest in print: what contrast does to a distance, and why a rival that never adapts shrugs it
# off.
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 4.2 and 4.3, Table 1, Figures 4 and 8. One claim is tested. **ttad-06**: a method trained with contrast-like
# augmentation (GNL) stays ahead of TTAD on contrast. Pictures are chosen by rules that are stated first. The data are others than the paper's, so this tests the claim and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdict's seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names

# %% tags=["hide-input"]
import copy
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn.corruptions import KINDS, corrupt
from otad.data.packaged import solar
from otad.data.readers.locations import VARIABLE, location
from otad.methods.distillation.gnl import efdm
from otad.methods.memory.patchcore import patch_features
from otad.methods.memory.ttad import distances
from otad.metrics import average_precision, image_auroc, pixel_auroc
from otad.scale import device
from otad.studies import reading, runner, ttad_qualitative as study
from otad.studies.shifted import NOTHING

if scale == "paper":
    MVTEC = location("mvtec_ad", data_folder)
    if data_folder:
        os.environ[VARIABLE] = data_folder  # for the study

# %% [markdown]
# ## Pictures
#
# The arena of page 30: classes whose clean PatchCore has an image AUROC of at least 0.9 and loses at least 0.1 under two or more corruptions. Two passed: monocrystalline solar cells with planted cuts, holes and contaminations, which have
# masks and decide, and cells of all designs with the defects they came with, which have none and are only shown, because a design gives many of them away. Everything that is drawn below is of the first, and everything is at severity 5, as
# in print. (Pages 33 and 34 are judged at milder ones.)

# %%
grid = study.setting(scale)
first, n_seeds, side = study.classes(scale)[0], grid["n_seeds"], grid["side"]
data = study.pictures(first, seed, scale)
shifted, masks = dict(study.conditions(data.test, seed)), data.masks.numpy()
print(grid, *study.classes(scale), sep="\n")

# %% [markdown]
# ## Four ways to look
#
# **PatchCore**, unadapted: the distance of a patch to its nearest memory entry. **TTAD**: the same after its network has followed the shifted pictures (page 33 chose epochs, learning rate and what stays frozen, on other seeds). In the
# place of RD4AD, **reverse distillation** at our scale: a frozen *teacher* sees the picture at strides 4, 8 and 16; a small *student* sees only a squeezed version of what the teacher saw and tries to give it back. Trained on normal
# pictures, it fails on defects: the map is $1-\cos$ between the two, summed over strides.
#
# And **GNL** (Cao et al., ICCV 2023), which is reverse distillation with two additions. *Consistency*: while training, the squeezed code and the finest map of a picture and of an altered view of it are pulled together. *EFDM*, exact
# feature distribution matching: at test time the values of each early feature channel are exchanged, rank by rank, for those of a training picture. With $x_{(r)}$ the $r$-th smallest value of a channel and $t_{(r)}$ that of the training
# picture,
#
# $$x_{(r)} \leftarrow (1-\alpha)\,x_{(r)} + \alpha\, t_{(r)}, \qquad \alpha = \tfrac12.$$
#
# Places keep their order and get other values. (This is one-dimensional optimal transport once more, page 01: sorted to sorted.)

# %% [markdown]
# GNL's views are altered as in AugMix, by random chains of operations. The authors' list for MVTec AD has AutoContrast in it, which TTAD's authors call an unfair advantage. So four recipes of training, each asked with and without EFDM;
# together they tell what an advantage is made of.

# %%
for recipe, arguments in study.RECIPES.items():
    print(f"{recipe:19}", arguments)

# %% [markdown]
# ## Live and stored
#
# The comparison is a study, `otad.studies.ttad_qualitative`: a cell is a class, a seed and a method. What follows is stored where it is a number over seeds, and live where it is a map or a number of the first seed: four cells, computed
# here with the same functions, which keep their maps. Unadapted scores must agree on any machine; what training has amplified is told. (Students trained from scratch amplify most: two processors give them other weights, and other scores by
# several points.)

# %%
train, maps, fitted, live = data.train.to(device()), {}, {}, []
for method in study.LOOKED_AT:
    fitted[method] = study.learnt(method, train, seed, scale)
    for condition, images in shifted.items():
        clean = condition == "clean"
        for match, scored in study.looks(method, fitted[method], images, clean):
            maps[condition, method, match] = scored.maps.cpu().numpy()
            row = {"class": first, "seed": seed, "method": method}
            live.append(row | study.row(condition, match, scored, data))
if scale == "laptop":
    stored = ledger.stored("ttad_qualitative")
    rows = stored.value
else:
    cells = study.cells(scale)
    rows = [r for cell in cells for r in runner.rows_of(study.STUDY, scale, cell)]
frame = pd.DataFrame(rows)
scores = frame[frame["seed"] >= study.FIRST_SEED]

# %% tags=["remove-input"]
if scale == "laptop":
    ledger.say(stored.sentence(runner.code(study.STUDY)))

    def unadapted(row):
        return row["method"] == "PatchCore" or (row["method"], row["condition"]) == ("TTAD", "clean")  # fmt: skip

    pair = 100 / (grid["n_good"] * 3 * grid["n_each"])  # of pictures, exchanged
    ledger.agreement("35", live, rows, ["class", "seed", "condition", "method", "EFDM"], ["image", "pixel"], (), unadapted, pair)  # fmt: skip

# %% [markdown]
# ## The maps (Figure 4)
#
# The paper's columns, and GNL: the shifted picture, its mask, the map without adaptation, reverse distillation (RD), TTAD, GNL, and what PatchCore says of the clean picture, which is where TTAD would like to arrive. Beneath a map stands
# the average precision of its pixels (AP; page 14), then where its colours begin and end: at the smallest and the largest value that this method gives to *any* of the thirty pictures under this corruption, good ones included. No map is
# stretched for itself. The rule for a row: of all defective pictures under a corruption, the one whose gain in AP by adapting is the median.

# %%
WAYS = {
    "unadapted": ("PatchCore", False),
    "RD": ("RD", False),
    "TTAD": ("TTAD", False),
    "GNL": ("GNL", True),
}
COLUMNS = [*WAYS, "on clean"]


def column(way, condition):
    """All maps of one column under one corruption."""
    if way == "on clean":
        return maps["clean", "PatchCore", False]
    return maps[condition, *WAYS[way]]


bad = np.flatnonzero(masks.any((1, 2)))
ap = pd.DataFrame(
    {"condition": condition, "i": i, "kind": data.kinds[i]}
    | {w: average_precision(column(w, condition)[i], masks[i]) for w in COLUMNS}
    for condition in KINDS
    for i in bad
)
ap["gain"] = ap["TTAD"] - ap["unadapted"]


# %%
def by_gain(q):
    """One row a corruption: the picture at a quantile of the gain."""
    kept = ap.groupby("condition", sort=False)["gain"]
    at = {
        c: (g - g.quantile(q, interpolation="lower")).abs().idxmin()
        for c, g in kept
    }
    return [ap.loc[at[c]] for c in KINDS]


def show_rows(chosen, alt=""):
    """A row a picture; the colours of a map run over all pictures of its corruption."""
    of = {w: [column(w, r.condition) for r in chosen] for w in COLUMNS}
    where = [r.i for r in chosen]
    plotting.show_maps(
        torch.stack([shifted[r.condition][r.i] for r in chosen]),
        masks[where],
        {
            w: np.stack([m[i] for m, i in zip(of[w], where, strict=True)])
            for w in of
        },
        titles=[f"{r.condition}\n{r.kind}" for r in chosen],
        notes={
            w: [
                f"AP {r[w]:.2f} | {m.min():.2g}–{m.max():.2g}"
                for r, m in zip(chosen, of[w], strict=True)
            ]
            for w in of
        },
        scales={w: [(m.min(), m.max()) for m in of[w]] for w in of},
        alt=alt,
        shows=["ttad Figure 4"],
    )


show_rows(by_gain(0.5), "On clean the defect is the brightest spot.")

# %% tags=["remove-input"]
ledger.say(solar.NOTICE)

# %% [markdown]
# Read the second numbers too. Under noise an unadapted map begins where a clean one nearly ends: everything is far from the memory, and the defect is no farther than the rest.
#
# All of it in one number each: pixel AUROC over all pictures, averaged over seeds. (Page 33 has it for TTAD's rivals, beside the paper's Table 3.)

# %%
ORDER = ["clean", *KINDS]
labels = {v: k for k, v in WAYS.items()}
pairs = zip(scores["method"], scores["EFDM"], strict=True)
named = scores.assign(method=[labels.get(p) for p in pairs]).dropna(
    subset=["method"]
)
own = named[named["class"] == first]
pixel = reading.means(own, "pixel", WAYS, ORDER).rename_axis(None)
ledger.record("p35_pixel", pixel.T.to_dict(), tolerance=0.02)
said = f"Pixel AUROC (%), planted defects, mean over {n_seeds} seeds"
plotting.table(pixel, said, formats="{:.1f}")

# %% [markdown]
# ## Every picture, before and after
#
# A dot a defective picture of the first seed, its AP without adaptation to the right, by TTAD up; above the diagonal adaptation helped. The axes are logarithmic, for most of it happens near zero, and the dotted lines mark the share of
# defective pixels, which a map that knows nothing gets. Look for the dots far above both.

# %% tags=["hide-input"]
fig, axes = plt.subplots(
    1,
    4,
    figsize=(plotting.WIDTH, 2.8),
    layout="constrained",
    sharex=True,
    sharey=True,
)
kinds, prevalence = sorted(ap["kind"].unique()), float(masks[bad].mean())
low = 0.7 * float(ap[["unadapted", "TTAD"]].min().min())
for ax, condition in zip(axes, KINDS, strict=True):
    for kind, color, marker in zip(
        kinds, plotting.COLORS[:5] * 9, "osD^v" * 9, strict=False
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
    ax.set(
        xscale="log",
        yscale="log",
        xlim=(low, 1.3),
        ylim=(low, 1.3),
        title=condition,
    )
    ax.set_box_aspect(1)
axes[0].set_ylabel("AP by TTAD")
fig.supxlabel("AP without adaptation", fontsize=10)
fig.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside upper center",
    ncols=len(kinds),
)
plotting.show(fig, "Four panels, one a corruption, of each picture's average precision by TTAD against that without adaptation, coloured by kind of defect, on logarithmic axes. Under brightness most dots lie far above the diagonal; under noise, blur and contrast they lie along it, at the lower left.")  # fmt: skip

# %%
per = ap.groupby("condition", sort=False)
summary = pd.DataFrame(
    {f"AP, {way}": per[way].mean() for way in COLUMNS if way != "RD"}
)
summary.insert(0, "better", per["gain"].agg(lambda g: int((g > 0.01).sum())))
summary.insert(1, "worse", per["gain"].agg(lambda g: int((g < -0.01).sum())))
whole = ["AP, unadapted", "AP, on clean"]  # no training stands behind these
ledger.record("p35_dots", summary[whole].T.to_dict(), tolerance=0.1)
trained = summary.drop(
    columns=whole
).T.to_dict()  # another processor, another student
ledger.record("p35_dots_trained", trained, timing=True, bounds=(0, len(masks)))
ledger.record("p35_defective", len(bad))
said = "Defective pictures whose AP rises or falls by more than 0.01, and mean AP"
plotting.table(summary.rename_axis(None), said, formats="{:.2f}")

# %% [markdown]
# ## Failures
#
# The other end of the rule: for each corruption the picture that *lost* the most by adapting.

# %%
show_rows(by_gain(0), "These are the pictures that lost the most by adapting.")

# %% [markdown]
# Mind the corners. A cell has four, dark and rare, and the brightest spots of TTAD's maps like to sit there. The image score is the largest value of all, so a corner that outshines the defect decides. How often does the peak of a map fall
# on the defect (or within 4 pixels of it), and how often into the outer ring, an eighth of the side wide?

# %%
ring = np.ones((side, side), bool)
ring[side // 8 : -(side // 8), side // 8 : -(side // 8)] = False
near = F.max_pool2d(data.masks[:, None].float(), 9, 1, 4)[:, 0].numpy() > 0
inside = {"on defect": near, "in ring": np.broadcast_to(ring, near.shape)}
peaks = pd.DataFrame(
    {
        f"{place}, {way}": 100
        * np.mean([where[i].flat[m[i].argmax()] for i in bad])
        for place, where in inside.items()
        for way, m in (
            (w, column(w, condition)) for w in ("unadapted", "TTAD", "GNL")
        )
    }
    | {"condition": condition}
    for condition in KINDS
).set_index("condition")
said = "Defective pictures (%) whose map peaks on the defect, and in the outer ring"
plotting.table(peaks.rename_axis(None), said, formats="{:.0f}")

# %% tags=["remove-input"]
plain = [c for c in peaks if c.endswith("unadapted")]
ledger.record("p35_peaks", peaks[plain].T.to_dict(), tolerance=0.1)
ledger.record(
    "p35_peaks_trained",
    peaks.drop(columns=plain).T.to_dict(),
    timing=True,
    bounds=(0, 100),
)
ledger.record("p35_ring", float(ring.mean()))
ledger.say("The ring is {p35_ring:.0%} of the area. Without adaptation {p35_peaks[contrast][in ring, unadapted]:.0f} % of the maps peak there under contrast, with it {p35_peaks_trained[contrast][in ring, TTAD]:.0f} %; under brightness {p35_peaks[brightness][in ring, unadapted]:.0f} % and {p35_peaks_trained[brightness][in ring, TTAD]:.0f} %, while the share that peaks on the defect rises from {p35_peaks[brightness][on defect, unadapted]:.0f} % to {p35_peaks_trained[brightness][on defect, TTAD]:.0f} %. Adaptation repairs the middle of a cell; the rim stays behind.")  # fmt: skip

# %% [markdown]
# What else went wrong is a matter of two averages. TTAD pulls every patch to the memory, and page 31 showed that Eq. 6 leaves no patch out: a defect keeps at least one link, too. So normal and anomalous patches both come nearer. What
# counts is the ratio of the two, and whether it ends above 1.

# %%
ratios = {}
for condition in ORDER:
    row = ratios[condition] = {}
    for way in ("unadapted", "TTAD"):
        m = column(way, condition)
        row[f"normal, {way}"] = float(m[~masks].mean())
        row[f"anomalous, {way}"] = float(m[masks].mean())
        row[f"ratio, {way}"] = row[f"anomalous, {way}"] / row[f"normal, {way}"]
ledger.record("p35_near", ratios, tolerance=0.05)
table = pd.DataFrame(ratios).T
table = table[sorted(table, key=lambda name: "nar".index(name[0]))]
said = "Mean value of a map on normal and on anomalous pixels, first seed"
plotting.table(table, said, formats="{:.2f}")

# %% tags=["remove-input"]
ledger.say("Adapting to brightness takes normal pixels from {p35_near[brightness][normal, unadapted]:.1f} to {p35_near[brightness][normal, TTAD]:.1f} and anomalous ones from {p35_near[brightness][anomalous, unadapted]:.1f} to {p35_near[brightness][anomalous, TTAD]:.1f}: the ratio goes from {p35_near[brightness][ratio, unadapted]:.2f} to {p35_near[brightness][ratio, TTAD]:.2f}, where the clean one is {p35_near[clean][ratio, unadapted]:.2f}. Under contrast it goes from {p35_near[contrast][ratio, unadapted]:.2f} to {p35_near[contrast][ratio, TTAD]:.2f}, under noise from {p35_near[gaussian noise][ratio, unadapted]:.2f} to {p35_near[gaussian noise][ratio, TTAD]:.2f}. A ratio below 1 is a map in negative: the defect is its calmest place. An alignment of distributions has no reason to turn a negative into a positive.")  # fmt: skip

# %% [markdown]
# ## More classes (Figure 8)
#
# First the rule of the arena, on seeds 0 and 1: clean at least 90 %, and two corruptions that cost 10 points. Whoever fails it is shown all the same, and named.

# %%
trials = frame[frame["seed"] < study.FIRST_SEED]
table = trials.pivot_table(
    index="class", columns="condition", values="image", sort=False
)[ORDER]
lost = table["clean"].to_numpy()[:, None] - table[list(KINDS)]
passes = (table["clean"] >= 90) & ((lost >= 10).sum(axis=1) >= 2)
ledger.record("p35_trial", table.T.to_dict(), tolerance=0.02)
ledger.record("p35_passed", "; ".join(table.index[passes]) or "none")
shown = table.assign(passes=np.where(passes, "yes", "no")).rename_axis(None)
said = "Image AUROC (%) of PatchCore on held-out seeds"
plotting.table(shown, said, formats="{:.1f}")

# %% tags=["remove-input"]
ledger.say("Passed: {p35_passed}. The others are missed too often before anything happens to them, at this size and with a network this small, so that their rows show maps and prove nothing.")  # fmt: skip

# %% [markdown]
# The classes take turns at the corruptions, contrast first. The row is again the picture with the median gain. Columns and colours as above.

# %%
drawn, turns = [], ("contrast", "brightness", "defocus blur")
for name, condition in zip(study.further(scale), turns, strict=False):
    other = study.pictures(name, seed, scale)
    images = corrupt(other.test, condition, 5, seed=seed)
    own = {}
    for method in ("TTAD", "RD"):
        one = study.learnt(method, other.train.to(device()), seed, scale)
        own[method] = next(study.looks(method, one, images))[1]
        if method == "TTAD":
            own["unadapted"] = one.score(images.to(device()))
            own["on clean"] = one.score(other.test.to(device()))
    own = {way: scored.maps.cpu().numpy() for way, scored in own.items()}
    truth = other.masks.numpy()
    there = np.flatnonzero(truth.any((1, 2)))
    ap_of = {
        w: [average_precision(m[i], truth[i]) for i in there]
        for w, m in own.items()
    }
    k = np.argsort(np.subtract(ap_of["TTAD"], ap_of["unadapted"]), kind="stable")
    k = k[(len(there) - 1) // 2]
    label = f"{name}: {condition}\n{other.kinds[there[k]].replace('_', ' ')}"
    drawn.append(
        (label, images[there[k]], truth[there[k]], own, ap_of, there[k], k)
    )

# %% tags=["hide-input"]
titles, images, truth, own, ap_of, at, kth = zip(*drawn, strict=True)
ways = ("unadapted", "RD", "TTAD", "on clean")
plotting.show_maps(
    torch.stack(images),
    np.stack(truth),
    {w: np.stack([m[w][i] for m, i in zip(own, at, strict=True)]) for w in ways},
    titles=titles,
    notes={
        w: [
            f"AP {a[w][k]:.2f} | {m[w].min():.2g}–{m[w].max():.2g}"
            for a, m, k in zip(ap_of, own, kth, strict=True)
        ]
        for w in ways
    },
    scales={w: [(m[w].min(), m[w].max()) for m in own] for w in ways},
    shows=["ttad Figure 8"],
)

# %% [markdown]
# ## What contrast does
#
# Contrast 5 keeps a twentieth: $x \mapsto 0.05\,(x-\bar x)+\bar x$, with $\bar x$ the mean of the picture. As a formula it is the mildest of the four. It draws nothing at random, mixes no pixels and clips nothing; multiply by twenty, and
# the picture is back. Unless it was stored.


# %%
def stretched(images, clean):
    """Undo contrast 5, given the mean of the clean picture."""
    mean = clean.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) / 0.05 + mean).clamp(0, 1)


faint, stored_faint = shifted["contrast"], shifted[study.BYTES]
VERSIONS = {
    "clean": data.test,
    "contrast": faint,
    "contrast, stretched": stretched(faint, data.test),
    "bytes, stretched": stretched(stored_faint, data.test),
}
memory = fitted["PatchCore"]
found = {name: memory.score(x.to(device())) for name, x in VERSIONS.items()}

# %%
undone = {}
for name, images in VERSIONS.items():
    few = stored_faint if name.startswith("bytes") else images
    span = images.amax((1, 2, 3)) - images.amin((1, 2, 3))
    undone[name] = {
        "range": float(span.mean()),
        "grey levels": int(np.median([len(x[0].unique()) for x in few])),
        "image AUROC": 100
        * image_auroc(found[name].image_scores.cpu(), data.labels),
        "pixel AUROC": 100 * pixel_auroc(found[name].maps.cpu(), data.masks),
    }
undone = pd.DataFrame(undone).T.astype({"grey levels": int})
said = "PatchCore, unadapted, first seed; grey levels: the median picture's number"
formats = {"range": "{:.2f}", "image AUROC": "{:.1f}", "pixel AUROC": "{:.1f}"}
plotting.table(undone, said, formats=formats)

# %% tags=["hide-input"]
ledger.record("p35_undone", undone.T.to_dict(), tolerance=0.02)
i = int(by_gain(0.5)[list(KINDS).index("contrast")].i)
versions = {name: scored.maps.cpu().numpy() for name, scored in found.items()}
limits = {
    "vmin": min(m.min() for m in versions.values()),
    "vmax": max(m.max() for m in versions.values()),
}
fig, axes = plt.subplots(2, 4, figsize=(plotting.WIDTH, 4.4), layout="constrained")
for k, (name, images) in enumerate(VERSIONS.items()):
    plotting.draw(
        axes[0, k], images[i].permute(1, 2, 0).numpy(), name, vmin=0, vmax=1
    )
    drawn = plotting.draw(axes[1, k], versions[name][i], **limits)
axes[1, 0].set_ylabel("distance to the memory")
fig.colorbar(drawn, ax=axes[1], shrink=0.8, aspect=15)
plotting.show(fig, "A solar cell clean, at contrast 5, stretched back from floats and stretched back from bytes, with PatchCore's map of each on one colour scale. Floats stretched back look like the clean cell and so does their map; bytes stretched back show steps of grey.")  # fmt: skip
ledger.say("As floats, nothing was lost: stretched back, PatchCore has {p35_undone[contrast, stretched][image AUROC]:.1f} again, where the faint picture has {p35_undone[contrast][image AUROC]:.1f}. Bytes keep {p35_undone[bytes, stretched][grey levels]:.0f} grey levels of the median cell and give {p35_undone[bytes, stretched][image AUROC]:.1f} (pixels: {p35_undone[bytes, stretched][pixel AUROC]:.1f}, floats {p35_undone[contrast, stretched][pixel AUROC]:.1f}). So the paper's explanation, *low visibility of defects*, is true of eyes. As long as nobody rounds, the defects are in the file, and one multiplication brings them back. What fails is the feature extractor.")  # fmt: skip

# %% [markdown]
# How does it fail? Three distances between patch features, each as a multiple of its clean value: of a patch to the memory, normal and anomalous apart; and of two random patches *of the same picture* to each other. Then, in units of the
# clean distance to the memory, how far a patch has *moved* from its own clean self, and how long the mean of these moves is over a picture: what its patches have *moved together*.


# %%
def patches(images):
    """Features (N, patches, C), one row of patches a picture."""
    points = memory.patches(images.to(device())).cpu()
    return points.view(len(images), -1, points.shape[-1])


marked = F.avg_pool2d(data.masks[:, None].float(), 8).flatten(1)
rng = torch.Generator().manual_seed(seed)
pair, own, apart = (
    torch.randperm(marked.shape[1], generator=rng),
    patches(data.test),
    {},
)
for condition, images in shifted.items():
    z = patches(images)
    d = distances(z.flatten(0, 1), memory.memory_.cpu()).amin(1).view(len(z), -1)
    found = {
        "to memory, normal": d[marked == 0],
        "to memory, anomalous": d[marked >= 0.25],
        "within a picture": (z - z[:, pair]).norm(dim=2),
        "moved": (z - own).norm(dim=2),
        "moved together": (z - own).mean(1).norm(dim=1),
    }
    apart[condition] = {
        name: float(values.mean()) for name, values in found.items()
    }
unit = dict(apart["clean"])
unit |= dict.fromkeys(("moved", "moved together"), unit["to memory, normal"])
apart = pd.DataFrame(apart).T / pd.Series(unit)
ledger.record("p35_apart", apart.T.to_dict(), tolerance=0.05)
said = "Mean distances, in units of the clean one; first seed"
plotting.table(apart, said, formats="{:.2f}")

# %% tags=["remove-input"]
ledger.say("**Distances grow and shrink at once.** Under contrast a normal patch is {p35_apart[contrast][to memory, normal]:.1f} times as far from the memory as it was, and an anomalous one {p35_apart[contrast][to memory, anomalous]:.1f} times, while two patches of one picture are {p35_apart[contrast][within a picture]:.2f} times as far apart. A picture moves off, by {p35_apart[contrast][moved]:.1f} units a patch of which {p35_apart[contrast][moved together]:.1f} are common to all its patches, to where flat grey lives, and huddles there. The difference between a defect and its surroundings is a distance *within* a picture, and the trip has become the larger of the two. Brightness is as long a trip, {p35_apart[brightness][moved]:.1f} units, but leaves {p35_apart[brightness][within a picture]:.2f} of the distances within: a cloud that has been moved can be moved back, which is what TTAD does best, and a cloud that has been crushed has to be blown up as well. Noise moves by {p35_apart[gaussian noise][moved]:.1f} and crushes to {p35_apart[gaussian noise][within a picture]:.2f}. (Blur does not fit in: it leaves {p35_apart[defocus blur][within a picture]:.2f}, and is hard because the fine structure has left the picture.)")  # fmt: skip

# %% [markdown]
# ## GNL shrugs it off
#
# Table 1 of the paper for the methods of this page, and ours. In print GNL leads on contrast by a little; RD4AD, from which it is built, has no such lead.

# %%
PRINTED = dict(zip(("patchcore", "rd4ad", "ttad", "gnl"), WAYS, strict=True))


def printed(dataset):
    found = ledger.by_setting(
        "corruption", paper="ttad", table="Table 1", dataset=dataset
    )
    return found.rename(index=PRINTED).loc[list(WAYS), ORDER]


wanted = [*ORDER, study.BYTES]
by_class = list(named.groupby("class", sort=False))
image = {c: reading.means(of, "image", WAYS, wanted) for c, of in by_class}
said = f"Image AUROC (%), severity 5: MVTec AD in print, here mean over {n_seeds} seeds"
plotting.beside(
    printed("mvtec_ad"), image[first][ORDER], caption=said, shows=["ttad Table 1"]
)
rest = {"Real-IAD, printed": printed("realiad")}
rest |= {name: own[ORDER] for name, own in image.items() if name != first}
rest = pd.concat(rest, names=["class", "method"]).reset_index()
plotting.table(
    rest, formats="{:.1f}", folded="Real-IAD in print, and the other classes"
)

# %% tags=["remove-input"]
ledger.record("p35_image", {f"{c}: {w}": row.to_dict() for c, own in image.items() for w, row in own.iterrows()}, tolerance=0.02)  # fmt: skip
ahead = {d: int((own.loc["TTAD", list(KINDS)] > own.loc["RD", list(KINDS)]).sum()) for d, own in (("mvtec_ad", printed("mvtec_ad")), ("realiad", printed("realiad")), ("here", image[first]))}  # fmt: skip
ledger.record(
    "p35_over_rd",
    {
        "here": ahead["here"],
        "print": ahead["mvtec_ad"] + ahead["realiad"],
        "of": len(KINDS),
    },
)
ledger.say("Not only GNL is ahead. Plain reverse distillation, which adapts to nothing, is beaten by TTAD in {p35_over_rd[print]} of 8 cells in print, and in {p35_over_rd[here]} of {p35_over_rd[of]} here: with this network a cosine between teacher and student mostly survives a shift better than a distance to a memory does, adapted or not. (TTAD's settings are those of page 33, where rates and epochs are varied.)")  # fmt: skip

# %% [markdown]
# Which of its two additions is it? The four recipes of training, without and with EFDM. *No stretching* leaves AutoContrast and Equalize out of the altered views; *contrast too* puts contrast and brightness in, which is to tell the answer
# (as far as 0.12 of the contrast; the test has 0.05).

# %%
kept = scores[(scores["class"] == first) & scores["method"].isin(study.RECIPES)]
told = kept["EFDM"].map({False: ", EFDM no", True: ", EFDM yes"})
recipes = [f"{m}, EFDM {e}" for m in study.RECIPES for e in ("no", "yes")]
kept = kept.assign(method=kept["method"] + told)
parts = reading.means(kept, "image", recipes, wanted)
ledger.record("p35_parts", parts.T.to_dict(), tolerance=0.02)
said = f"Image AUROC (%), planted defects, mean over {n_seeds} seeds"
plotting.table(parts.rename_axis(None), said, formats="{:.1f}")

# %%
wide = scores.pivot_table(
    index=["class", "seed"], columns=["condition", "method", "EFDM"], values="image"
)
SETTINGS = {
    "EFDM": (("RD", True), ("RD", False)),
    "views": (("GNL", False), ("RD", False)),
    "views, with EFDM": (("GNL", True), ("RD", True)),
    "EFDM under noise": (("RD", True), ("RD", False)),
    "stretching": (("GNL", False), ("GNL, no stretching", False)),
    "stretching, with EFDM": (("GNL", True), ("GNL, no stretching", True)),
    "being told": (("GNL, contrast too", False), ("RD", False)),
}
own, gained = wide.loc[first], {}
for name, (more, less) in SETTINGS.items():
    of = own["gaussian noise" if "noise" in name else "contrast"]
    if less in of and more in of:
        gained[name] = of[more] - of[less]
gained = pd.concat(gained, names=["what", "seed"]).to_frame("points")
said = "Image AUROC gained, under contrast unless said; planted defects"
effects = plotting.intervals(gained, said)["points"].to_dict()

# %% tags=["remove-input"]
ledger.record("p35_effects", effects, tolerance=0.1)
ledger.say("Exchanging values for those of a training picture gains {p35_effects[EFDM][0]:+.1f} points [{p35_effects[EFDM][1]:+.1f}, {p35_effects[EFDM][2]:+.1f}] on a student that has never seen an altered view. Altered views without EFDM are worth {p35_effects[views][0]:+.1f} [{p35_effects[views][1]:+.1f}, {p35_effects[views][2]:+.1f}], and on top of EFDM {p35_effects[views, with EFDM][0]:+.1f} [{p35_effects[views, with EFDM][1]:+.1f}, {p35_effects[views, with EFDM][2]:+.1f}]. **The lead is made at test time.** The reason is in the section above: contrast is a monotone change of values, and matching sorted values undoes monotone changes. Noise is not one, and there the exchange gains {p35_effects[EFDM under noise][0]:+.1f} [{p35_effects[EFDM under noise][1]:+.1f}, {p35_effects[EFDM under noise][2]:+.1f}].")  # fmt: skip
if "stretching" in effects:
    ledger.say("And the *unfair advantage*? Stretching among the altered views is worth {p35_effects[stretching][0]:+.1f} points [{p35_effects[stretching][1]:+.1f}, {p35_effects[stretching][2]:+.1f}] without EFDM and {p35_effects[stretching, with EFDM][0]:+.1f} [{p35_effects[stretching, with EFDM][1]:+.1f}, {p35_effects[stretching, with EFDM][2]:+.1f}] with it; being told the answer outright {p35_effects[being told][0]:+.1f} [{p35_effects[being told][1]:+.1f}, {p35_effects[being told][2]:+.1f}]. Here, at least, GNL does not owe its lead to AutoContrast. What it does need, and TTAD does not, is a training picture at test time: one.")  # fmt: skip

# %% [markdown]
# ## Verdict
#
# GNL less TTAD under contrast of severity 5, planted defects, from the stored rows.

# %%
lead = wide["contrast"]["GNL", True] - wide["contrast"]["TTAD", False]
on_bytes = wide[study.BYTES]["GNL", True] - wide[study.BYTES]["TTAD", False]
beside = {
    k: v.groupby("class", sort=False).mean().to_dict()
    for k, v in (("lead", lead), ("lead_bytes", on_bytes))
}
for name, of_class in beside.items():
    ledger.record(f"p35_{name}", of_class, tolerance=0.05)

# %% tags=["hide-input"]
flagged = [f"{v:+.1f}" for c, v in beside["lead"].items() if c != first]
flagged = f" (on the flagged class {', '.join(flagged)})" if flagged else ""
ledger.verdict(
    "ttad-06",
    {"contrast: GNL > TTAD": lead[first].tolist()},
    "a seed draws the cells, the damage, the memory, the student and the views",
    "points of image AUROC",
    f"With contrast stored as bytes GNL leads by {beside['lead_bytes'][first]:+.1f}{flagged}. GNL at laptop scale: EfficientNet-Lite0, a small student; not MVTec AD. TTAD after nine steps; the paper takes about 120. The claim's reason, contrast-like augmentation, is not what we find: EFDM on plain reverse distillation already gains {effects['EFDM'][0]:+.1f} points, the altered views on top of it {effects['views, with EFDM'][0]:+.1f}.",
    **NOTHING,
)
plotting.margins(
    {"ttad-06": ledger.recorded("verdict ttad-06")},
    "points of image AUROC",
    effects={"ttad-06": 1.0},
)

# %% [markdown]
# ## Paper against code
#
# **TTAD's** code is not public. Its figures do not say how pictures were selected nor how colours were scaled; maps stretched one by one look far more alike than ours. The appendix finds that *all methods yield the worst performance on
# contrast*; in Table 1, above, GNL on MVTec AD does not.
#
# **GNL's** code is. TTAD's text says that EFDM takes *randomly sampled* training pictures; the code takes one, the first file of the training folder, for all. (Ours: one, drawn by the seed.) GNL's authors corrupt with severity 3, TTAD with
# 5. Their list of operations for MVTec AD contains AutoContrast and Equalize, as TTAD's authors say, but not contrast or brightness, which are marked as overlapping with the test corruptions and are used on another data set. A second view,
# in grey, is left out here: cells are grey. Cosines are taken of whole maps, flattened, in the code, and place by place in the paper of reverse distillation and here.
#
# ## What it costs
#
# Seconds an image, everything included, on one thread; a batch holds ten pictures with two views each. Memory is what has to be kept while a batch is processed: for adapting, everything that autograd saves for the way back, and four
# matrices of patches by entries (cost, plan, hard plan, weights); for scoring, one picture's maps and distances.


# %%
def saved(frozen):
    """Bytes that one batch of adaptation keeps for its gradient, and its rows."""
    kept = {}

    def pack(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    moving = copy.deepcopy(memory.backbone)
    for stride, stage in moving.stages.items():
        for layer in stage.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.requires_grad_(int(stride) > frozen)
    views = faint[:10].repeat(3, 1, 1, 1).to(device())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        points = patch_features(moving(views))
    return sum(kept.values()), len(points) * points.shape[-1] * points.shape[-2]


MIB, needs = 2**20, {}
for name, depth in (("as here", memory.frozen), ("nothing frozen", 0)):
    graph, n_rows = saved(depth)
    needs[name] = {
        "graph": graph / MIB,
        "plan": 4 * 4 * n_rows * memory.n_memory / MIB,
    }
alone = sum(m[:1].numel() * 4 for m in memory.backbone(faint[:1].to(device())))
scoring = (alone + 4 * n_rows // 30 * memory.n_memory) / MIB
ledger.record("p35_memory", needs | {"scoring": scoring}, tolerance=0.1)

# %% tags=["timing"]
one, whole, student = faint.to(device()), copy.copy(fitted["TTAD"]), fitted["GNL"]
whole.epochs, whole.frozen = 1, 0
here, printed_way = (sum(need.values()) for need in needs.values())
JOBS = {
    "PatchCore: score": (lambda: memory.score(one), 1, scoring),
    "TTAD: adapt as here": (lambda: fitted["TTAD"].adapt(one), 1, here),
    "TTAD: 10 epochs, nothing frozen": (lambda: whole.adapt(one), 10, printed_way),
    "reverse distillation": (
        lambda: study.asked(student, False).score(one),
        1,
        np.nan,
    ),
    "GNL, with EFDM": (lambda: study.asked(student, True).score(one), 1, np.nan),
}
costs = {}
for name, (work, times, need) in JOBS.items():
    start = time.perf_counter()
    work()
    spent = 1000 * times * (time.perf_counter() - start) / len(one)
    costs[name] = {"ms an image": spent, "MiB kept": need}
costs = pd.DataFrame(costs).T
costs["times scoring"] = costs["ms an image"] / costs["ms an image"].iloc[0]
dearer = costs["times scoring"].iloc[1]
ledger.record("p35_adapt_cost", dearer, timing=True, bounds=(0.5, 1e4))
said = (
    f"{len(one)} pictures of {side} x {side}; the third row is one epoch, times ten"
)
plotting.table(costs, said, formats="{:.1f}", timing=True)

# %% tags=["remove-input"]
ledger.say("Adapting keeps {p35_memory[as here][graph]:.0f} MiB for the gradient of a batch ({p35_memory[nothing frozen][graph]:.0f} with nothing frozen) and {p35_memory[as here][plan]:.0f} MiB of plans, thirty pictures' worth; scoring one picture keeps {p35_memory[scoring]:.1f}. The plan grows with the square of the resolution and with the memory, the graph with the resolution alone. And a detail that tables of milliseconds hide: TTAD cannot say anything about the first picture until it has seen the others.")  # fmt: skip

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
# If matching values is all it takes, PatchCore can have it without a student, without features and without adapting: give every *pixel* the value of its rank in a training picture (`efdm` with $\alpha=1$), and score. What will that do to
# contrast, to bytes, to brightness, to noise, and to a clean picture?

# %% [markdown]
# ### Solution
#
# Contrast is undone, and clean pictures lose nothing: one cell's histogram is much like another's, and a small defect hardly shows in it. (A large one would, and be painted over.) Bytes come back less well, because the order within a grey
# level is invented. Brightness is monotone, too, except where it has clipped: there half the picture is one tie. Noise with other values is still noise.

# %%
solution = {}
for condition, images in shifted.items():
    matched = efdm(images, data.train[:1], 1.0)
    of = own.loc[seed, condition]
    undo = memory.score(matched.to(device())).image_scores.cpu()
    solution[condition] = {
        "PatchCore": float(of["PatchCore", False]),
        "PatchCore, pixels matched": 100 * image_auroc(undo, data.labels),
        "TTAD": float(of["TTAD", False]),
        "GNL": float(of["GNL", True]),
    }
solution = pd.DataFrame(solution).T
ledger.record("p35_solution", solution.T.to_dict(), tolerance=0.02)
said = "Image AUROC (%), planted defects, first seed"
plotting.table(solution, said, formats="{:.1f}")

# %% tags=["remove-input"]
ledger.say("A sort, and contrast is at {p35_solution[contrast][PatchCore, pixels matched]:.1f}, with no learning at all. The four corruptions of the benchmark ask for four different repairs; a method that knows none of them, as TTAD promises, is measured against ones that happen to know one.")  # fmt: skip
