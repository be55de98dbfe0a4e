# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FCA: which reference?
#
# A patch can be odd only in comparison. One stranger, a hundred strangers, everybody, or the average citizen: what the choice of
# company costs, in points and in seconds, and why "everybody" was never as expensive as the paper feared.
#
# *High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence Analysis*, Section 3.3, Table 2, and what
# Section 5 says about speed. Seven claims are tested, three on scores and four on time. **fca-04**: one median reference beats
# up to 100 random ones. **fca-06**: more random references are better, with shrinking gains. **fca-08**: for
# the histogram the average is slightly worse than 100 or all references. **fca-05**: the median costs as much as one random
# reference, and all references thousands of times more. **fca-07**: time grows linearly with the number of references.
# **fca-15**: nearest neighbours cost about seven times a single reference. **fca-16**: in the end the network takes most of the time.
# (The last two speak of a GPU: without one they are measured and not judged.) The paper names neither the pictures nor the features of its Table 2. Ours are others in any case: this tests the claims on other
# data and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 300  # the first of the verdicts' seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names

# %% tags=["hide-input"]
import math
import time
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from otad import ledger, plotting
from otad.data.drawn import defects, textures
from otad.data.readers import folders
from otad.data.packaged import photographs
from otad.data.readers.locations import location
from otad.features.handcrafted import minmax, random_kernels
from otad.features.pretrained import efficientnet_lite0, vgg19, wide_resnet50_2
from otad.methods.matching.fca import FCA, patch_weights
from otad.methods.matching.ranks import gaussian, reference_values
from otad.methods.matching.patch_statistics import (
    histogram,
    sample_weighted_wasserstein,
)
from otad.metrics import aupro
from otad.scale import device, pick

if scale == "paper":
    MVTEC = location("mvtec_ad", data_folder)

BLUE, RED, GREEN, PINK = plotting.COLORS[:4]
COLOR = {"histogram": GREEN, "SWW": RED, "FCA": BLUE}

# %% [markdown]
# ## Three kinds of company
#
# Equation 1 adds up how much a patch differs from each reference in a set $R$:
#
# $$A(x, y) = \sum_{F_r \in R} S\big((x, y), F_r\big).$$
#
# Table 2 fills $R$ in three ways: $k$ patches drawn **at random** from the picture itself, $k = 1, 3, 10, 100$; **all** $N$ of
# them, one centred on each pixel; and one **aggregate** that stands for all. The aggregate is the average for a histogram,
# and for rank matching (SWW and FCA, page 10) the *median*: channel by channel, the median over patches of the smallest value,
# of the second smallest, and so on. By Eq. 7 no other single reference has a smaller sum of distances to all patches.
#
# Lengths as on page 11: features at every fourth pixel, a patch of the same share of the picture as the paper's
# $25 \times 25$ in $256 \times 256$, widths of the Gaussians in proportion. The smoothing of Eq. 6, a fifth of a sample by
# then, would move nothing and is left out: FCA is Eq. 5 here.

# %%
side = pick(scale, smoke=64, laptop=160, paper=256)  # of the images, in pixels
T = pick(scale, smoke=3, laptop=5, paper=25)  # side of a patch, in samples
KS = (1, 3, 10, 100)  # random references
border = round(0.1 * side)  # pixels left out at each side when scoring
sigma_w, sigma_p, sigma_s = 6 * T / 25, 3 * T / 25, 1.0 if T == 25 else None

net = (
    vgg19(stages=(1,), device=device())
    if scale == "paper"
    else efficientnet_lite0(stages=(4,), device=device())
)

# %% tags=["hide-input"]
n_seeds = pick(scale, smoke=2, laptop=7)  # ten would not fit into three minutes
n_clocked = pick(scale, smoke=2, laptop=5)  # seeds of the claims about time
n_kinds = pick(scale, smoke=1, laptop=3)  # defects a texture and seed
names = list(textures.NAMES) + list(photographs.NAMES)
if scale == "smoke":
    names = [textures.NAMES[2], photographs.NAMES[2]]
if scale == "paper":
    names = list(textures.NAMES)  # MVTec AD has classes of the same names


def load(name, s):
    """Test images (N,3,side,side), masks and kinds of one texture and seed."""
    if scale == "paper":
        data, part = folders.load(MVTEC, name, size=side), (s - seed)
        return (
            data.test[part::n_seeds],
            data.masks[part::n_seeds],
            data.kinds[part::n_seeds],
        )
    source = textures if name in textures.NAMES else photographs
    kinds = defects.KINDS[(names.index(name) + s) % 2 :: 2][:n_kinds]
    data = source.load(name, side, 1, 1, 1, defects=kinds, seed=s)
    return data.test, data.masks, data.kinds


def features_of(images):
    """Features (N,C,h,w), each channel of each image scaled to [0,1]."""
    with torch.no_grad():
        return minmax(net(images.to(device()))[0])


# %% [markdown]
# ## What a sum of references sees
#
# One channel of one picture. On the left, the sorted values of a hundred random patches: each grey line is a reference that
# chance may deal you, the first three in colour, and the median of all patches runs through the middle. On the right, what a value $v$ at the
# dotted rank is charged, per reference. One reference gives a sharp V, in a place that is a matter of luck. Look at
# *all*: its bottom is round, and lies where the median's V has its tip.


# %%
def charge(v, references):
    """Σ_r |v − a_r| for many v, (n,), and references a, (R,): one sort, one running sum, one look-up."""
    a, v = references.double().sort().values, v.double()
    total = F.pad(a.cumsum(0), (1, 0))  # total[j]: the sum of the j smallest
    j = torch.searchsorted(a, v, right=True)
    return v * (2 * j - len(a)) + total[-1] - 2 * total[j]


shown_texture = names[min(4, len(names) - 1)]
images, masks, kinds = load(shown_texture, seed)
f = features_of(images)[-1]
every = reference_values(f, T, "all").cpu()  # (N,C,T²)
channel = int(
    (every.quantile(0.9, dim=0) - every.quantile(0.1, dim=0)).mean(1).argmax()
)
rank = T * T // 2
column = every[:, channel, rank]
drawn = reference_values(f, T, "random", 100, seed=seed).cpu()[:, channel]
v = torch.linspace(0, 1, 300)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].plot(drawn.T, color="0.82", lw=0.6)
axes[0].plot(drawn[1:3].T, color=PINK, lw=1.3)
axes[0].plot(drawn[0], color=RED, lw=1.3)
median = every[:, channel].median(dim=0).values
axes[0].plot(median, color=BLUE, lw=2.5, label="median of all")
axes[0].plot([], color=RED, lw=1.3, label="one at random")
axes[0].plot([], color=PINK, lw=1.3, label="two more")
axes[0].plot([], color="0.7", lw=1, label="a hundred at random")
axes[0].axvline(rank, color="black", ls=":", lw=1)
axes[0].set(xlabel="rank in the patch", ylabel=f"value, channel {channel}")
axes[0].legend(fontsize=9, loc="upper left")
for label, a, color, width in (
    ("one at random", drawn[:1, rank], RED, 1.3),
    ("three", drawn[:3, rank], PINK, 1.3),
    ("all", column, "black", 2.2),
    ("median", median[rank : rank + 1], BLUE, 2.2),
):
    axes[1].plot(v, charge(v, a) / len(a), color=color, lw=width, label=label)
axes[1].set(xlabel=f"value at rank {rank}", ylabel="charge per reference")
axes[1].legend(fontsize=9)
plotting.show(
    fig,
    alt="Left: a hundred sorted patches as grey lines, three in colour, far apart, and their median in the middle. Right: the charge "
    "against the value: sharp V's for one reference and for the median, a polygon for three, and a rounded bowl for all references "
    "whose lowest point is the tip of the median's V.",
)

# %% [markdown]
# So the two ends of Table 2 are cousins. Far from the crowd, *all* charges the distance to the average, nearly the
# median's price. Within the crowd, where patches differ for no fault of their own, it hardly tells one value from another, and
# it never charges nothing: its floor is the spread of the texture at that rank, the same for every pixel.
# Random references are noisy estimates of the bowl.
#
# ## Everybody, at the price of a sort
#
# The function `charge` above is the whole trick. Eq. 1 is a sum of $|v - a_r|$, so the references may change places: sort them,
# keep running sums, and a value needs only its own place $j$ in the queue,
#
# $$\sum_{r=1}^{N} |v - a_r| = v\,(2j - N) + \sum_{r} a_r - 2 \sum_{r \le j} a_r .$$
#
# The paper compares all pairs of patches, $O(N^2 T^2 C)$, and extrapolates the time; this takes $O(N T^2 C \log N)$ and no
# approximation. `reference="all"` does it in all three statistics. The check: a map small enough to loop over all its
# patches, no square, two statistics by rank and one by bins.

# %%
small = torch.rand(3, 13, 17, generator=torch.Generator().manual_seed(seed))
n = small[0].numel()


def sww(f, **options):
    return sample_weighted_wasserstein(f, T, sigma_w, ties="index", **options)


def fca(f, **options):
    return FCA(None, T, sigma_p, sigma_s, ties="index", **options).score_features(f)


STATISTICS = {
    "histogram": lambda f, **options: histogram(f, T, sigma_w, **options),
    "SWW": sww,
    "FCA": fca,
}
worst = {}
for name, statistic in STATISTICS.items():
    looped = statistic(
        small, reference="random", n_references=n
    )  # all, in random order
    exact = statistic(small, reference="all")
    worst[name] = float((exact - looped).abs().max() / looped.max())
ledger.record("p12_exact", worst, below=1e-4)
ledger.record("p12_exact_n", n)

# %% tags=["remove-input"]
ledger.say(
    "Looping over all {p12_exact_n} patches and looking them up differ by {p12_exact[histogram]:.0e} (histogram), "
    "{p12_exact[SWW]:.0e} (SWW) and {p12_exact[FCA]:.0e} (FCA) of the largest score: rounding in single precision."
)

# %% [markdown]
# ## The loop, written down
#
# For a few random references a loop does as well, and the paper's times are about it. Sorting is shared; then, for each
# reference, the errors of all $N$ patches. What happens to them is where SWW and FCA part. **SWW** weighs the errors of a patch and
# keeps the sum at its centre. **FCA** sends every error home, to the pixel it came from, in each of the $T^2$ patches that hold it.


# %%
def ranked_patches(f, T):
    """Values of the patches of the reflected map, sorted, and where they came from: (C,N,T²) twice."""
    padded = F.pad(f[None], (T // 2,) * 4, mode="reflect")
    patches = F.unfold(padded, T).view(len(f), T * T, -1).transpose(1, 2)
    return patches.sort(dim=-1, stable=True)


def to_centre(errors, order, shape, weights):
    """SWW, Eq. 4: Σ_p M(p) g(p − centre), summed over channels; (h,w)."""
    return (errors * weights[order]).sum(dim=(0, 2)).view(shape)


def to_members(errors, order, shape, weights):
    """FCA, Eq. 5 or 6, as the weights are: each error back to its pixel, weighted, summed over channels; (h,w)."""
    (h, w), size = shape, round(len(weights) ** 0.5)
    by_pixel = torch.empty_like(errors).scatter_(-1, order, errors).sum(dim=0)
    padded = F.fold(
        (by_pixel @ weights.T).T[None], (h + size - 1, w + size - 1), size
    )
    return padded[0, 0, size // 2 : size // 2 + h, size // 2 : size // 2 + w]


def senders(T, sigma_w, sigma_p, sigma_s):
    """Statistic to (what to do with errors, its weights)."""
    near = gaussian(T, sigma_w).flatten().float().to(device())
    members = patch_weights(T, sigma_p, sigma_s).float().to(device())
    return {"SWW": (to_centre, near), "FCA": (to_members, members)}


# %% [markdown]
# The loop runs once to 100 and is read at 1, 3, 10 and 100, for SWW and FCA alike: the ten references are the three and seven more.
# Channels are taken in blocks, to bound the memory. Beside the four rows, `all` and the aggregates come from the package, which
# must also agree with the loop.


# %%
def random_maps(f, number):
    """Mean map over the first k random references: {(statistic, "random k"): (h,w)}."""
    shape, n = f.shape[1:], f[0].numel()
    references = reference_values(f, T, "random", max(KS), seed=number)  # (R,C,T²)
    maps = {}
    for c in range(0, len(f), step := max(1, 2**25 // (n * T * T))):
        ranked, order = ranked_patches(f[c : c + step], T)
        total, errors = torch.zeros_like(ranked), torch.empty_like(ranked)
        for k, reference in enumerate(references[:, c : c + step, None], start=1):
            total += torch.sub(ranked, reference, out=errors).abs_()
            if k not in KS:
                continue
            errors = total / (k * len(f))
            for name, (send, weights) in SENDERS.items():
                key = (name, f"random {k}")
                maps[key] = maps.get(key, 0) + send(errors, order, shape, weights)
    return maps


def all_maps(f, number):
    """Maps of one picture, (h,w), per reference: {(statistic, reference): map}."""
    maps = random_maps(f, number)
    for k in KS:
        maps["histogram", f"random {k}"] = (
            STATISTICS["histogram"](
                f, reference="random", n_references=k, seed=number
            )
            / k
        )
    for name, statistic in STATISTICS.items():
        maps[name, "all"] = statistic(f, reference="all") / f[0].numel()
        maps[name, "aggregate"] = statistic(f)
        whole = "median" if name == "histogram" else "median_all"
        maps[name, "median, all patches"] = statistic(f, reference=whole)
    return maps


SENDERS = senders(T, sigma_w, sigma_p, sigma_s)
REFERENCES = [f"random {k}" for k in KS] + [
    "all",
    "aggregate",
    "median, all patches",
]
looped, number = random_maps(f, seed), max(KS[:3])
worst = {}
for name in ("SWW", "FCA"):
    ours = STATISTICS[name](f, reference="random", n_references=number, seed=seed)
    worst[name] = float(
        (looped[name, f"random {number}"] * number - ours).abs().max() / ours.max()
    )
ledger.record("p12_loop_exact", worst, below=1e-4)

# %% tags=["remove-input"]
ledger.say(
    "Largest difference between this loop and the package, as a share of the largest score: {p12_loop_exact[SWW]:.0e} for SWW, "
    "{p12_loop_exact[FCA]:.0e} for FCA."
)

# %% [markdown]
# ## The same picture in different company
#
# One row a statistic, with one colour scale, as all maps are divided by the number of references. See how a single
# stranger imprints *its* peculiarities on the whole map, and how that fades from left to right.

# %%
pictured = all_maps(f, seed)
shown = ["random 1", "random 3", "random 100", "all", "aggregate"]

# %% tags=["hide-input"]
fig, axes = plt.subplots(3, 6, figsize=(9, 4.9), layout="constrained")
for row, name in zip(axes, STATISTICS, strict=True):
    small_maps = [pictured[name, r].cpu() for r in shown]
    inside = np.s_[T // 2 : -(T // 2), T // 2 : -(T // 2)]
    low = min(float(m[inside].min()) for m in small_maps)
    high = max(float(m[inside].max()) for m in small_maps)
    for ax, m, title in zip(row[1:], small_maps, shown, strict=True):
        drawn_map = ax.imshow(m, vmin=low, vmax=high, extent=(0, side, side, 0))
        ax.contour(
            np.arange(side) + 0.5,
            np.arange(side) + 0.5,
            masks[-1],
            levels=[0.5],
            colors=plotting.OUTLINE,
            linewidths=0.8,
        )
        if name == "histogram":
            ax.set_title(title, fontsize=10)
    row[1].set_ylabel(name, fontsize=10)
    fig.colorbar(drawn_map, ax=row[-1], shrink=0.9).ax.tick_params(labelsize=8)
axes[0, 0].imshow(images[-1].permute(1, 2, 0))
axes[0, 0].set_title("image", fontsize=10)
axes[1, 0].imshow(masks[-1], cmap="gray")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
axes[2, 0].axis("off")
plotting.show(
    fig,
    alt=f"A texture, {shown_texture}, with a planted defect ({kinds[-1]}), its mask, and three rows of maps, one a statistic, for one, "
    "three and a hundred random references, all, and the aggregate. With one reference the maps are uneven, from a hundred on "
    "they hardly change.",
)

# %% [markdown]
# ## The run
#
# Every texture, seed, statistic and reference, with the same draw of patches for all three statistics. Pictures, sizes, widths and
# border are chosen as on page 11: a seed draws, for each of eight textures, a good picture and three with fresh damage, half of
# the six kinds. That was checked on seeds 0, 1 and 7; a run with smaller and fewer pictures on seeds 100 to 104 was dropped as
# too noisy to decide anything, and the inequalities below were last changed after a look at seeds 200 to 204. The verdicts use seeds from 300 on,
# which nobody had looked at. A tenth is cut off at each
# side before scoring: page 16 shows that on whole images one scores mostly the treatment of the border.

# %%
inner = (..., slice(border, -border), slice(border, -border))
rows = []
for s in range(seed, seed + n_seeds):
    for texture in names:
        images, masks, kinds = load(texture, s)
        maps = [
            all_maps(f, 1000 * s + i) for i, f in enumerate(features_of(images))
        ]
        for name, reference in maps[0]:
            m = torch.stack([one[name, reference] for one in maps])[:, None]
            full = F.interpolate(m, size=(side, side), mode="bilinear")[:, 0].cpu()
            pro = 100 * aupro(full[inner], masks[inner])
            rows.append(
                {
                    "seed": s,
                    "texture": texture,
                    "statistic": name,
                    "reference": reference,
                    "PRO": pro,
                }
            )
scores = pd.DataFrame(rows)
panel = (  # mean over the textures: (seed) x (statistic, reference)
    scores.groupby(["seed", "statistic", "reference"])["PRO"].mean().unstack([1, 2])
)

# %% tags=["hide-input"]
card = {
    "pictures": f"{len(names)} textures x {n_seeds} seeds x {len(images)} pictures of {side} x {side} pixels",
    "features": f"{net.name}, {net.weights}, stride {net.strides[0]}: {f.shape[0]} x {f.shape[1]} x {f.shape[2]}",
    "patch T": f"{T} samples, {100 * T * net.strides[0] / side:.0f} % of the side",
    "widths, in samples": f"sigma_w = {sigma_w:.1f}, sigma_p = {sigma_p:.1f}, sigma_s = {sigma_s or 'none (Eq. 5)'}",
    "histogram": "10 bins, average histogram as aggregate",
    "SWW, FCA": "aggregate: median of ranks over tiles of stride T, as the authors' code; ties by index: only mirrored pixels tie, and these are cropped",
    "random references": "drawn from the N patches of the same picture, without repetition; smaller sets are part of larger ones",
    "scaling": "each channel of each image to [0, 1]; errors averaged over channels",
    "map to image": "bilinear, masks at full size, no further smoothing",
    "border": f"{border} pixels dropped on each side of map and mask",
    "PRO": "AU-PRO, limit 0.3, 8-connected regions, exact, per texture and seed; then the mean over textures",
}
plotting.table(pd.DataFrame({"choice": card}), caption="Protocol card")

# %% [markdown]
# ## Table 2, scores
#
# Percent; $\pm$ is half the 95 % interval over seeds. The paper has dashes where it only extrapolated a time: SWW and FCA
# against *all*: two cells that have stayed empty, until now. The row below the aggregate is not in the paper: the median over all patches, as Eq. 7
# has it, where the code takes non-overlapping tiles.

# %%
WORDS = {"hist": "histogram", "sww": "SWW", "fca": "FCA"}


def row_of(setting):
    """The row of Table 2 that a published number belongs to."""
    words = dict(part.split("=") for part in setting.split(";"))
    if words["reference"] == "random":
        return f"random {words['n_references']}"
    return {"mean_or_median": "aggregate"}.get(
        words["reference"], words["reference"]
    )


published = {"PRO": {}, "seconds": {}}
for row in ledger.numbers(paper="fca", table="Table 2").itertuples():
    kind = "PRO" if row.metric == "pixel_pro_0.3" else "seconds"
    published[kind][WORDS[row.method], row_of(row.setting)] = row.number

rows, here = [], {}
for reference in REFERENCES:
    row = {"reference": reference}
    for name in STATISTICS:
        if name == "histogram" and reference == REFERENCES[-1]:
            continue  # kept for the exercise
        mean, low, _ = ledger.t_interval(panel[name, reference].tolist())
        here[name, reference] = mean
        row[f"{name} printed"] = published["PRO"].get((name, reference))
        row |= {f"{name} here": mean, f"{name} ±": mean - low}
    rows.append(row)
table = pd.DataFrame(rows).set_index("reference").rename_axis(None)

# %% tags=["hide-input"]
ledger.record(
    "p12_table",
    {f"{name} {reference}": value for (name, reference), value in here.items()},
    tolerance=5e-3,
)
plotting.table(
    table,
    caption=f"Table 2, PRO, printed and here ({len(names)} textures, {n_seeds} seeds)",
    formats="{:.1f}",
    shows=["fca Table 2"],
)

# %% [markdown]
# The same as curves: PRO against the number of random references, and *all* and the aggregate as points at the right. Printed on the left, here on
# the right, each with its own axis; compare shapes. How steep is the climb, does it end, and on which side of its end is the
# aggregate?

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
places = [1, 3, 10, 100, 500, 2500]
for name, color in COLOR.items():
    keys = [(name, reference) for reference in REFERENCES[:6]]
    old = [published["PRO"].get(key, np.nan) for key in keys]
    new = [here[key] for key in keys]
    error = [here[key] - ledger.t_interval(panel[key].tolist())[1] for key in keys]
    shift = {"histogram": 0.93, "SWW": 1.0, "FCA": 1.07}[name]
    xs = np.array(places) * shift
    for ax, values, bars in ((axes[0], old, None), (axes[1], new, error)):
        ax.plot(xs[:4], values[:4], "o-", color=color, ms=4, label=name)
        ax.plot(xs[4:], values[4:], "s", color=color, ms=6)
        if bars:
            ax.errorbar(xs, values, bars, fmt="none", color=color, capsize=2, lw=1)
for ax, title in zip(axes, ("printed", "here"), strict=True):
    ax.set_xscale("log")
    ax.set_xticks(places, ["1", "3", "10", "100", "all", "aggre-\ngate"])
    ax.minorticks_off()
    ax.set(xlabel="references", ylabel="PRO (%)", title=title)
axes[0].legend(fontsize=9)
plotting.show(
    fig,
    alt="PRO against the number of random references for histogram, SWW and FCA, printed and measured here with intervals, with points "
    "for all references and for the aggregate.",
    shows=["fca Table 2"],
)

# %% tags=["hide-input"]
gains = {
    name: [here[name, b] - here[name, a] for a, b in pairwise(REFERENCES[:4])]
    for name in STATISTICS
}
ledger.record("p12_gains", gains, tolerance=0.05)
ahead = {}
for name in ("SWW", "FCA"):
    for other in ("all", "random 100", "median, all patches"):
        gap = panel[name, "aggregate"] - panel[name, other]
        key = f"{name} {other}"
        ahead[key] = dict(
            zip(
                ("mean", "low", "high"),
                ledger.t_interval(gap.tolist()),
                strict=True,
            )
        )
        ledger.record(
            f"p12_ahead_{name}_{other.split(',')[0].replace(' ', '_')}".lower(),
            ahead[key],
            tolerance=0.1,
        )

# %% tags=["remove-input"]
ledger.say(
    "The filled cells first. Against *all* references the median scores {p12_ahead_sww_all[mean]:+.2f} points with SWW "
    "[{p12_ahead_sww_all[low]:+.2f}, {p12_ahead_sww_all[high]:+.2f}] and {p12_ahead_fca_all[mean]:+.2f} with FCA "
    "[{p12_ahead_fca_all[low]:+.2f}, {p12_ahead_fca_all[high]:+.2f}]. A hundred random references are a good stand-in for all: "
    "the median's lead over them is {p12_ahead_sww_random_100[mean]:+.2f} and {p12_ahead_fca_random_100[mean]:+.2f}. Tiles instead of all "
    "patches for the median are worth {p12_ahead_sww_median[mean]:+.2f} [{p12_ahead_sww_median[low]:+.2f}, "
    "{p12_ahead_sww_median[high]:+.2f}] and {p12_ahead_fca_median[mean]:+.2f} [{p12_ahead_fca_median[low]:+.2f}, "
    "{p12_ahead_fca_median[high]:+.2f}]."
)

# %% [markdown]
# ## Three claims about scores
#
# Each claim is a list of inequalities, each with one margin a seed. It holds if the interval of every one lies above zero, and fails here if one
# lies below after an adjustment for their number. "With shrinking gains" is an inequality as well: each step of the table must gain less than the
# one before. The same inequalities are asked of the printed table.


# %%
def inequalities(v):
    """Claim to named gaps in points, positive as claimed; v[statistic, reference] is PRO."""
    random = REFERENCES[:4]
    return {
        "fca-04": {
            f"{name}: median over {r}": v[name, "aggregate"] - v[name, r]
            for name in ("SWW", "FCA")
            for r in random
        },
        "fca-06": {
            f"{name}: {b} over {a.split()[1]}": v[name, b] - v[name, a]
            for name in STATISTICS
            for a, b in pairwise(random)
        }
        | {
            f"{name}: gain to {b} over gain to {c}": 2 * v[name, b]
            - v[name, a]
            - v[name, c]
            for name in STATISTICS
            for a, b, c in zip(random, random[1:], random[2:], strict=False)
        },
        "fca-08": {
            f"histogram: {r} over average": v["histogram", r]
            - v["histogram", "aggregate"]
            for r in ("random 100", "all")
        },
    }


gaps = {
    claim: pd.DataFrame(columns) for claim, columns in inequalities(panel).items()
}
in_print = inequalities(published["PRO"])


DELTA = (
    1.0  # points of PRO: the smallest difference that would matter, as on page 11
)
DELTA_REASON = "as two laboratories print PRO values of one method on the same pictures farther apart (PatchCore in Table 3)"


def reason(claim):
    """What the printed table says."""
    least = min(in_print[claim].values())
    word = "agrees with" if least > 0 else "contradicts"
    return f"The paper's own table {word} the claim ({least:+.2f})."


other_data = (
    " Other pictures and features than the paper's, which it does not name."
)
resampling = (
    "seed: a disjoint part of the test images"
    if scale == "paper"
    else "seed: fresh pictures, defects and draws of references on a fixed panel of textures; photographs overlap between seeds"
)

# %%
whole = {
    name: here[name, "median, all patches"] - here[name, "random 100"]
    for name in ("SWW", "FCA")
}
ledger.verdict(
    "fca-04",
    gaps["fca-04"].to_dict("list"),
    resampling,
    unit="points of PRO",
    why=reason("fca-04")
    + " With the median over all patches, as Eq. 7 has it and the code has not, the gaps to 100 random references are "
    + " and ".join(f"{whole[name]:+.2f} ({name})" for name in whole)
    + ". Eq. 7 promises the smallest sum of distances; that this is the best detector, it does not."
    + other_data,
    smallest_effect=DELTA,
    effect_reason=DELTA_REASON,
)

# %%
ledger.verdict(
    "fca-06",
    gaps["fca-06"].to_dict("list"),
    resampling,
    unit="points of PRO",
    why=reason("fca-06") + other_data,
    smallest_effect=DELTA,
    effect_reason=DELTA_REASON,
)

# %%
ledger.verdict(
    "fca-08",
    gaps["fca-08"].to_dict("list"),
    resampling,
    unit="points of PRO",
    why=reason("fca-08")
    + f" How slight it is the claim does not say: {gaps['fca-08'].mean().min():.1f} points here, {min(in_print['fca-08'].values()):.1f} in print."
    + other_data,
)

# %% [markdown]
# Every inequality with its interval; crosses are the printed table. Look whether a claim rests on one wobbly gap or on all.

# %% tags=["hide-input"]
fig, axes = plt.subplots(
    1, 3, figsize=(9.5, 4.8), layout="constrained", width_ratios=(1, 1, 1)
)
for ax, (claim, columns) in zip(axes, gaps.items(), strict=True):
    for place, name in enumerate(reversed(list(columns))):
        mean, low, high = ledger.t_interval(columns[name].tolist())
        color = GREEN if low > 0 else RED if high < 0 else "0.45"
        ax.errorbar(
            mean, place, xerr=mean - low, fmt="o", color=color, capsize=3, ms=4
        )
        ax.plot(in_print[claim][name], place, "x", color="black", ms=5)
    labels = [
        name.replace("random ", "").replace(
            ": ", "\n" if len(columns) < 3 else ": "
        )
        for name in columns
    ]
    ax.axvline(0, color="0.7", lw=1)
    ax.set_yticks(range(len(labels)), reversed(labels), fontsize=8)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.set(xlabel="gap (points of PRO)", title=claim)
plotting.show(
    fig,
    alt="Three panels of gaps with intervals, one a claim, and crosses for the gaps of the printed table; right of zero is as claimed.",
)

# %% [markdown]
# ## Table 2, seconds
#
# Now the clock. The map has the paper's $256 \times 256$ pixels, so that $N = 65{,}536$ is the paper's: one channel, a random kernel as in
# Section 3.1, and a patch of $T = 3$, the smaller of its final method. Table 2 has 128 channels and $T = 25$: 9,000 times as many values; time grows in proportion to
# channels, and with $T^2$ or a little faster (page 15). The clock counts CPU seconds of one thread, so that a neighbour on
# the machine does not stretch the line; on a GPU it is a wall clock. Short runs are repeated, and the best counts; each $k$ is run
# on its own; a seed has its own texture, kernel and references.

# %% tags=["timing"]
torch.set_num_threads(1)
wide = pick(scale, smoke=48, laptop=256)  # side of the map
T_clock, repeats = 3, pick(scale, smoke=1, laptop=3)
STEP = {"histogram": (100, 1000), "SWW": (10, 100), "FCA": (10, 100)}  # for fca-07
w_clock, p_clock, s_clock = 6 * T_clock / 25, 3 * T_clock / 25, None  # Eq. 5


def noise(*shape):
    """Uniform random numbers, as stand-ins where only time matters."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=draw).to(device())


def clock():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(work, repeats=repeats):
    spent = []
    for _ in range(repeats):
        start = clock()
        work()
        spent.append(clock() - start)
    return min(spent)


def loop(f, name, references):
    """Eq. 1 as it stands: sort once, then a whole map for each reference, added up."""
    ranked, order = ranked_patches(f, T_clock)
    send, weights = CLOCKED[name]
    total = torch.zeros_like(f[0])
    for reference in references[:, :, None]:
        total += send((ranked - reference).abs(), order, f.shape[1:], weights)
    return total


CLOCKED = senders(T_clock, w_clock, p_clock, s_clock)


# %% tags=["timing"]
def measure(s, wide=wide):
    """Seconds of each statistic and reference for one seed; the reference is drawn or made within."""
    name = textures.NAMES[s % len(textures.NAMES)]
    image = textures.load(name, wide, 1, 1, 1, defects=("hole",), seed=s).test[:1]
    f = minmax(random_kernels(image, 1, seed=s).to(device()))[0]
    spent = {}

    def drawn(which, k=1):
        return reference_values(f, T_clock, which, k, seed=s)

    for k in sorted({*KS, *STEP["histogram"]}):
        spent["histogram", k] = seconds(
            lambda k=k: histogram(f, T_clock, w_clock, 10, "random", k, s)
        )
    spent["histogram", "aggregate"] = seconds(
        lambda: histogram(f, T_clock, w_clock)
    )
    spent["histogram", "exact"] = seconds(
        lambda: histogram(f, T_clock, w_clock, reference="all")
    )
    for name in CLOCKED:
        for k in KS:
            again = repeats if k < 100 else 1
            spent[name, k] = seconds(
                lambda k=k, name=name: loop(f, name, drawn("random", k)), again
            )
        spent[name, "aggregate"] = seconds(
            lambda name=name: loop(f, name, drawn("median"))
        )
    for label, which in (("exact", "all"), ("package", "median")):
        one = FCA(None, T_clock, p_clock, s_clock, reference=which)
        spent["FCA", label] = seconds(lambda one=one: one.score_features(f))
        spent["SWW", label] = seconds(
            lambda which=which: sample_weighted_wasserstein(
                f, T_clock, w_clock, reference=which
            )
        )
    spent["histogram", "package"] = spent["histogram", "aggregate"]
    return spent


_ = measure(seed, 32)  # warm up: what is compiled or loaded for the first time
clocked = pd.DataFrame([measure(s) for s in range(seed, seed + n_clocked)])

# %% [markdown]
# A straight line $t = a + b\,k$ through the four times: $a$ is what all references share (the sort, or the blurred votes of a histogram), $b$ is the price of
# one more. At $k = N$ the line says what looping over all would take. That is an extrapolation, by us as by the paper. The
# squares on the right are none: the exact sum, by the shortcut.

# %% tags=["timing"]
N = wide**2
lines = {}
for name in STATISTICS:
    for i, row in clocked.iterrows():
        y = np.array([row[name, k] for k in KS])
        b, a = np.polyfit(KS, y, 1)
        unexplained = ((y - a - b * np.array(KS)) ** 2).sum() / (
            (y - y.mean()) ** 2
        ).sum()
        everyone = max(a + b * N, y[-1])  # all cannot cost less than a hundred did
        lines[name, i] = {"a": a, "b": b, "R2": 1 - unexplained, "all": everyone}
lines = pd.DataFrame(lines).T
mean_line = lines.groupby(level=0).mean()

# %% tags=["hide-input", "timing"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
ks = np.geomspace(1, N, 100)
for name, color in COLOR.items():
    a, b = mean_line.loc[name, ["a", "b"]]
    for i, row in clocked.iterrows():
        for ax in axes:
            ax.plot(
                KS,
                [row[name, k] for k in KS],
                "o",
                color=color,
                ms=3.5,
                alpha=0.7,
                label=name if i == 0 else None,
            )
    axes[0].plot([0, 100], [a, a + 100 * b], color=color, lw=1)
    axes[1].plot(ks, a + b * ks, color=color, lw=1)
    axes[1].plot(N, a + b * N, "*", color=color, ms=11, mfc="none")
    axes[1].plot(N, clocked[name, "exact"].mean(), "s", color=color, ms=7)
axes[1].plot([], [], "*", color="0.3", ms=11, mfc="none", label="all, by the line")
axes[1].plot([], [], "s", color="0.3", ms=7, label="all, exact")
axes[0].set(xlabel="references k", ylabel="seconds a channel", ylim=(0, None))
axes[1].set(
    xlabel="references k", ylabel="seconds a channel", xscale="log", yscale="log"
)
axes[0].legend(fontsize=9)
axes[1].legend(*(x[3:] for x in axes[1].get_legend_handles_labels()), fontsize=9)
plotting.show(
    fig,
    alt="Seconds against the number of references with fitted lines, linear on the left, logarithmic up to all patches on the right. FCA is "
    "steepest, then SWW, then the histogram. Squares for the exact sum over all references lie orders of magnitude below the ends of "
    "the lines.",
    shows=["fca Table 2"],
    timing=True,
)

# %% [markdown]
# Printed seconds are those of an RTX A5000, for 128 channels and $T = 25$; ours of one CPU thread, for one channel and $T = 3$. So compare
# *multiples*, in the first table: of the loop with one aggregate, or, in the last two rows, of the package's own time with one. For SWW and FCA the package does
# not sort patches at all, hence the difference. A column for a GPU of ours is missing: it has not been measured yet.

# %% tags=["hide-input", "timing"]
LABELS = {k: f"random {k}" for k in KS} | {
    "all": "all, by the line",
    "aggregate": "aggregate",
    "exact": "all, exact (package)",
    "package": "aggregate (package)",
}
multiples, spent = {}, {}
for reference, label in LABELS.items():
    for name in STATISTICS:
        unit = "package" if reference in ("exact", "package") else "aggregate"
        own = (
            mean_line.loc[name, "all"]
            if reference == "all"
            else clocked[name, reference].mean()
        )
        row = reference if isinstance(reference, str) else label
        old = published["seconds"].get((name, row), np.nan)
        spent[label, f"{name} printed"], spent[label, f"{name} here"] = old, own
        multiples[label, f"{name} printed"] = (
            old / published["seconds"][name, "aggregate"]
        )
        multiples[label, f"{name} here"] = own / clocked[name, unit].mean()


def grid(values, short):
    """Table of {(row, column): value}; `short` says how a number is written."""
    cells = {key: "–" if np.isnan(v) else short(v) for key, v in values.items()}
    columns = dict.fromkeys(column for _, column in values)
    return pd.DataFrame(
        {c: {row: cells[row, c] for row in LABELS.values()} for c in columns}
    )


plotting.table(
    grid(multiples, lambda v: f"{v:,.0f}" if v >= 100 else f"{v:.1f}"),
    caption=f"Table 2, time as a multiple of that with one aggregate ({wide} × {wide} map, {n_clocked} seeds)",
    shows=["fca Table 2"],
    timing=True,
)
plotting.table(
    grid(spent, lambda v: f"{v:,.0f}" if v >= 100 else f"{v:.3g}"),
    caption=f"Table 2, seconds: printed for 128 channels, T = 25; here for one channel, T = {T_clock}",
    shows=["fca Table 2"],
    timing=True,
)

# %% tags=["hide-input", "timing"]
all_over, exact_over = (
    {name: multiples[LABELS[row], f"{name} here"] for name in STATISTICS}
    for row in ("all", "exact")
)
for name in STATISTICS:
    key, saved = (
        name.lower(),
        mean_line.loc[name, "all"] / clocked[name, "exact"].mean(),
    )
    ledger.record(f"p12_all_{key}", all_over[name], timing=True, bounds=(5, None))
    ledger.record(
        f"p12_exact_{key}", exact_over[name], timing=True, bounds=(0.1, 100)
    )
    ledger.record(f"p12_saved_{key}", saved, timing=True, bounds=(1, None))

# %% tags=["remove-input", "timing"]
ledger.say(
    "By the line, all references cost {p12_all_sww:,.0f} times the median with SWW, {p12_all_fca:,.0f} times with FCA and {p12_all_histogram:,.0f} times the average with "
    "the histogram. The exact sum over the same references costs {p12_exact_sww:.1f}, {p12_exact_fca:.1f} and {p12_exact_histogram:.1f} times one aggregate, or "
    "{p12_saved_sww:,.0f}, {p12_saved_fca:,.0f} and {p12_saved_histogram:,.0f} times less than the loop."
)

# %% [markdown]
# Is the line to be trusted that far out? On a smaller map, the loop over *all* patches can be run to its end. The line through
# the same four $k$ is extrapolated to this map's $N$, and here is what the loop really takes.

# %% tags=["timing"]
crop = pick(scale, smoke=12, laptop=48)
f_small = torch.rand(
    1, crop, crop, generator=torch.Generator().manual_seed(seed)
).to(device())
n_small = crop**2


def foretold(name):
    """What the loop over all takes, as a multiple of what its line says."""
    drawn = reference_values(f_small, T_clock, "random", n_small, seed=seed)
    y = [seconds(lambda k=k: loop(f_small, name, drawn[:k]), 3) for k in KS]
    b, a = np.polyfit(KS, y, 1)
    return seconds(lambda: loop(f_small, name, drawn), 1) / (a + b * n_small)


ends = {name: foretold(name) for name in CLOCKED}
ledger.record("p12_small_n", n_small)
ledger.record("p12_foretold_sww", ends["SWW"], timing=True, bounds=(0.3, 3))
ledger.record("p12_foretold_fca", ends["FCA"], timing=True, bounds=(0.3, 3))

# %% tags=["remove-input", "timing"]
ledger.say(
    "The whole loop over {p12_small_n:,} references takes {p12_foretold_sww:.2f} of the foretold time with SWW and {p12_foretold_fca:.2f} with FCA."
)

# %% [markdown]
# ### The cell the paper could not compute
#
# The largest map of the paper's final method: $128 \times 128$ with 512 channels and $T = 9$, a picture of $1024^2$. All 16,384 references,
# exactly. A first try with a few channels says how long all would take; if that is more than half a minute, the
# number is scaled up from these few instead, and the sentence below says so. The values are random: ranks cost the same whatever they are of.

# %% tags=["timing"]
height, C_full = pick(scale, smoke=24, laptop=128), pick(scale, smoke=8, laptop=512)
limit = pick(scale, smoke=1, laptop=30, paper=300)  # seconds


def everybody(n_channels):
    """Seconds of the exact sum over all references on so many channels."""
    f = noise(n_channels, height, height)
    fca = FCA(patch_size=9, reference="all")
    fca.score_features(f[:, :16, :16])  # compile, if anything is to be compiled
    return seconds(lambda: fca.score_features(f), 1)


def one_reference():
    """Seconds that the loop takes for one reference on one channel."""
    f = noise(1, height, height)
    ranked, order = ranked_patches(f, 9)
    send, weights = senders(9, 2.16, 3.0, 1.0)["FCA"]
    reference = ranked[:, :1]
    return seconds(
        lambda: send((ranked - reference).abs(), order, f.shape[1:], weights), 3
    )


few = min(4, C_full)
t_exact = everybody(few) * C_full / few
whole = t_exact < limit
if whole:
    t_exact = everybody(C_full)
t_loop = one_reference() * C_full * height**2
ledger.record("p12_big_channels", C_full if whole else few, timing=True)
ledger.record("p12_big_seconds", t_exact, timing=True, bounds=(0, 3600))
ledger.record("p12_big_loop_hours", t_loop / 3600, timing=True)
ledger.record("p12_big_ratio", t_loop / t_exact, timing=True, bounds=(10, None))
ledger.record("p12_printed_all_fca", published["seconds"]["FCA", "all"])

# %% tags=["remove-input", "timing"]
ledger.say(
    f"FCA against all {height**2:,} references on a {height} × {height} × {C_full} map, T = 9, exact, one thread: **{{p12_big_seconds:.0f}} seconds** "
    + (
        "(all channels run)"
        if whole
        else "(scaled up from {p12_big_channels} channels: the work is done channel by channel)"
    )
    + ". The loop, at the measured price of a reference, would take {p12_big_loop_hours:,.0f} hours, {p12_big_ratio:,.0f} times as long. The paper's "
    "{p12_printed_all_fca:,.0f} s, over three days, are for its 256 × 256 × 128 map with T = 25, extrapolated on a GPU."
)

# %% [markdown]
# ## Nearest neighbours, and the network
#
# The *KNN* variant does not add up all references: each pixel keeps its $K$ smallest scores. A smallest score is known only once all are, so
# the loop has to be run to its end, with all $N$ maps kept ($N^2$ numbers), and no running sum will help. That is why the paper uses it at
# $320 \times 320$ only: $N = 1600$, $T = 3$. Two claims remain: KNN takes about seven times as long as one reference, network included,
# and with one reference the network takes most of the time.
#
# For time it does not matter what a network has learnt, so here is the paper's own, WideResNet50-2 up to stride 8, with random weights, on a
# $320 \times 320$ picture: 512 channels. The KNN loop is timed for a few references and extrapolated to 1600 by its line, the selection is timed in full.

# %% tags=["timing"]
photo = pick(scale, smoke=96, laptop=320)
deep = (
    efficientnet_lite0(stages=(8,), device=device())
    if scale == "smoke"
    else wide_resnet50_2(weights=None, device=device())
)
few_references = 3


def clocked_at_320(s):
    """Seconds of each part for one picture."""
    name = textures.NAMES[s % len(textures.NAMES)]
    image = (
        textures.load(name, photo, 1, 1, 1, defects=("hole",), seed=s)
        .test[:1]
        .to(device())
    )
    with torch.no_grad():
        spent = {"network": seconds(lambda: deep(image))}
        f = minmax(deep(image)[0])[0]
    n, (send, weights) = f[0].numel(), senders(3, 0.72, 3.0, 1.0)["FCA"]
    spent["sort"] = seconds(lambda: ranked_patches(f, 3), 1)
    ranked, order = ranked_patches(f, 3)
    references = reference_values(f, 3, "random", few_references, seed=s)

    def passes():
        for reference in references[:, :, None]:
            send((ranked - reference).abs(), order, f.shape[1:], weights)

    spent["a reference"] = seconds(passes, 1) / few_references
    scores = noise(n, n)
    spent["selection"] = seconds(
        lambda: scores.topk(n // 4, dim=0, largest=False), 1
    )
    share = pick(scale, smoke=4, laptop=8)  # of the channels: one in so many
    for T in (3, 9):
        fca = FCA(patch_size=T)
        spent[f"FCA, T = {T}"] = share * seconds(
            lambda fca=fca: fca.score_features(f[::share])
        )
    return spent | {"N": n}


FCA(patch_size=3).score_features(
    noise(2, 8, 9)
)  # compile, if anything is to be compiled
FCA(patch_size=9).score_features(noise(2, 9, 9))
parts = pd.DataFrame([clocked_at_320(s) for s in range(seed, seed + n_clocked)])
single = parts["network"] + parts["sort"] + parts["a reference"]
knn = (
    parts["network"]
    + parts["sort"]
    + parts["N"] * parts["a reference"]
    + parts["selection"]
)
knn_ratio = knn / single
shares = pd.DataFrame(
    {
        T: parts["network"] / (parts["network"] + parts[f"FCA, T = {T}"])
        for T in (3, 9)
    }
)

# %% tags=["hide-input", "timing"]
budget = pd.DataFrame(
    {
        "seconds": {
            "network": parts["network"].mean(),
            "FCA from the package, median, T = 3": parts["FCA, T = 3"].mean(),
            "FCA from the package, median, T = 9": parts["FCA, T = 9"].mean(),
            "loop: sort, T = 3": parts["sort"].mean(),
            "loop: one reference": parts["a reference"].mean(),
            f"loop: {int(parts['N'][0])} references, by the line": (
                parts["N"] * parts["a reference"]
            ).mean(),
            "selection of the nearest quarter": parts["selection"].mean(),
        }
    }
)
plotting.table(
    budget,
    caption=f"One picture of {photo} × {photo}, one thread",
    formats="{:.3g}",
    timing=True,
)
ledger.record("p12_knn_ratio", knn_ratio.mean(), timing=True, bounds=(1, None))
ledger.record("p12_network_share_3", shares[3].mean(), timing=True, bounds=(0, 1))
ledger.record("p12_network_share_9", shares[9].mean(), timing=True, bounds=(0, 1))

# %% tags=["remove-input", "timing"]
ledger.say(
    "By the plain loop, KNN takes {p12_knn_ratio:,.0f} times as long as one reference, network included. With FCA from the package, the network takes "
    "{p12_network_share_3:.0%} of the time at T = 3 and {p12_network_share_9:.0%} at T = 9."
)

# %% [markdown]
# ## Four claims about time
#
# Each of their parts is an inequality. Where a part bounds a ratio its margin is a logarithm, so that twice too much weighs as half too little: zero at
# the bound, 0.7 at twice the bound. **fca-05**, for SWW and FCA: the median within a factor of 1.25 of one random reference, either way, and all (by the
# line, $N = 65{,}536$) above 1000 times the median. **fca-07**, for all three statistics: a non-zero cost that all references share, the line's $a$ as a share
# of the time for one; and beyond it a price that grows with the *first* power of their number. A good fit of a line does not say that: it fits
# $k^{0.7}$ nearly as well. So we take the exponent over a tenfold step, $\log\frac{t_{10k} - t_1}{t_k - t_1} / \log\frac{10k - 1}{k - 1}$, in which what is
# shared cancels: 1 for a line, and between 0.9 and 1.1 ten times the references cost 8 to 13 times as much. The step is from 10 to 100 references, for the
# histogram from 100 to 1000, as its references are so cheap that ten of them hide in the jitter of the clock. **fca-15**: a ratio between 4 and 10. **fca-16**: the
# network's share above one half, at $T = 3$ and at $T = 9$. These limits were
# fixed before seed 300 was run. What varies between the five runs is mostly the machine, so the intervals say little about *other* machines.

# %% tags=["hide-input", "timing"]
on_gpu = device().type == "cuda"
on = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
CLOSE, STRAIGHT = 1.25, 0.1


def exponent(name):
    """For each seed the power of k with which the price of more references grows."""
    k, more = STEP[name]
    once, few, many = (clocked[name, n] for n in (1, k, more))
    return np.log((many - once) / (few - once).clip(lower=1e-9)) / math.log(
        (more - 1) / (k - 1)
    )


powers = pd.DataFrame({name: exponent(name) for name in STATISTICS})
margins = {"fca-05": {}, "fca-07": {}}
for name in ("SWW", "FCA"):
    apart = np.log(clocked[name, "aggregate"] / clocked[name, 1])
    margins["fca-05"] |= {
        f"{name}: median at most {CLOSE} times one reference": math.log(CLOSE)
        - apart,
        f"{name}: one reference at most {CLOSE} times the median": math.log(CLOSE)
        + apart,
        f"{name}: all over 1000 times the median": np.log(
            lines.loc[name, "all"] / clocked[name, "aggregate"] / 1000
        ),
    }
for name in STATISTICS:
    margins["fca-07"] |= {
        f"{name}: exponent above {1 - STRAIGHT:g}": powers[name] - (1 - STRAIGHT),
        f"{name}: exponent below {1 + STRAIGHT:g}": 1 + STRAIGHT - powers[name],
        f"{name}: shared cost above zero": lines.loc[name, "a"] / clocked[name, 1],
    }
margins = {
    claim: {name: values.tolist() for name, values in named.items()}
    for claim, named in margins.items()
}
for name in STATISTICS:
    ledger.record(
        f"p12_power_{name.lower()}",
        powers[name].mean(),
        timing=True,
        bounds=(0.5, 2),
    )
same = {
    name: float((clocked[name, "aggregate"] / clocked[name, 1]).mean())
    for name in ("SWW", "FCA")
}
old = published["seconds"]
old_fit = {
    name: np.corrcoef(KS, [old[name, f"random {k}"] for k in KS])[0, 1] ** 2
    for name in STATISTICS
}
in_table_4 = ledger.numbers(
    paper="fca", table="Table 4", dataset="aitex", metric="seconds_per_image"
)
print_knn, print_one = (
    in_table_4[in_table_4["method"] == method]["number"].iloc[0]
    for method in ("fca_knn", "fca")
)
again = "seed: another texture, kernel or channel, other references; repeated runs on one machine"

# %% tags=["timing"]
ledger.verdict(
    "fca-05",
    margins["fca-05"],
    again,
    timing=(-1.4, 1.4),
    unit="(logarithm of a ratio)",
    why=f"On {on}: the median takes {same['SWW']:.2f} (SWW) and {same['FCA']:.2f} (FCA) times one random reference; all, by the measured line, "
    f"{all_over['SWW']:,.0f} and {all_over['FCA']:,.0f} times the median. True of the loop only: "
    f"the exact sum costs {exact_over['SWW']:.1f} and {exact_over['FCA']:.1f} times the median. In print the histogram's ratio is "
    f"{old['histogram', 'all'] / old['histogram', 'aggregate']:,.0f}, those of SWW and FCA {old['SWW', 'all'] / old['SWW', 'aggregate']:,.0f} and "
    f"{old['FCA', 'all'] / old['FCA', 'aggregate']:,.0f}.",
)

# %% tags=["timing"]
ledger.verdict(
    "fca-07",
    margins["fca-07"],
    again,
    timing=(-0.5, 1.0),
    unit="(exponent, or share of the time for one reference)",
    why=f"On {on}: mean exponents {', '.join(f'{powers[name].mean():.2f} ({name})' for name in STATISTICS)}; R² is at least {lines['R2'].min():.4f}, "
    f"and the shared cost at least "
    f"{min(lines.loc[(name, i), 'a'] / clocked[name, 1][i] for name, i in lines.index):.0%} of the time for one reference, without the features, which "
    f"would add to it. In print R² is {old_fit['histogram']:.4f} (histogram), {old_fit['SWW']:.4f} and {old_fit['FCA']:.4f}.",
)

# %% tags=["timing"]
no_gpu = "the claim's times are those of a GPU, and this page ran without one"
spoken = (
    f"On {on}, by the plain loop, the ratio is {knn_ratio.mean():,.0f}; the print's own seconds give {print_knn:g} / {print_one:g} = {print_knn / print_one:.1f}. One reference takes "
    f"{parts['a reference'].mean() / single.mean():.0%} of a picture's time here, and 1600 of them cannot cost seven pictures unless one costs under half a percent, "
    "as the printed times imply. A GPU may hide most of a reference behind the start-up of its kernels; that is a guess."
)
if on_gpu:
    ledger.verdict(
        "fca-15",
        {"KNN over one reference": np.log(knn_ratio).tolist()},
        again,
        timing=(0.0, 8.0),
        unit="(logarithm of a ratio)",
        why=spoken,
        band=(math.log(4), math.log(10)),
    )
else:
    ledger.undecided("fca-15", no_gpu, spoken)

# %% tags=["timing"]
spoken = (
    f"On {on}, the network is the paper's, with random weights: {shares[3].mean():.0%} of the time at T = 3, {shares[9].mean():.0%} at T = 9. The claim "
    "needs more than half for both patches of the paper. From T = 3 to T = 9 the network costs the same and FCA "
    f"{(parts['FCA, T = 9'] / parts['FCA, T = 3']).mean():.1f} times as much. A larger picture changes neither share by much, as both grow with its area."
)
if on_gpu:
    ledger.verdict(
        "fca-16",
        {f"T = {T}: network over half": (shares[T] - 0.5).tolist() for T in shares},
        again,
        timing=(-0.5, 0.5),
        unit="(share of time)",
        why=spoken,
    )
else:
    ledger.undecided("fca-16", no_gpu, spoken)

# %% [markdown]
# ## Paper against code
#
# Three differences touch this page. Equation 7 takes the median over *all* patches, the code over tiles that do not overlap: the
# last row of the table of scores has the difference. The paper adds the errors of channels up, the code averages them, which changes no order. And
# the paper's *all* is a double loop whose result it never saw; the identity above makes it a matter of one sort, so that Table 2
# can be completed. Page 16 measures what else differs.
#
# ## What it costs
#
# Memory: a loop over references holds one channel's patches, their order and the errors, 16 bytes for each of the $N T^2$ values; the
# exact sum 32 bytes in plain PyTorch. KNN keeps all maps, $4 N^2$ bytes: 10 MB at $320^2$, 1 GB on a $128 \times 128$ map, 17 GB on the paper's $256 \times 256$.

# %% tags=["timing"]
f = features_of(images)[0]
one = {
    f"{name}, {reference}": seconds(
        lambda name=name, reference=reference: STATISTICS[name](
            f, reference=reference
        )
    )
    for name in STATISTICS
    for reference in (("mean" if name == "histogram" else "median"), "all")
}
plotting.table(
    pd.DataFrame({"ms": {key: 1000 * value for key, value in one.items()}}),
    caption=f"Milliseconds a map in the run of this page, {tuple(f.shape)} features, T = {T}",
    formats="{:.1f}",
    timing=True,
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input", "timing"]
ledger.say(
    "Against which patches should a patch be compared? With FCA, one median patch scores {p12_ahead_fca_all[mean]:+.1f} points of PRO [{p12_ahead_fca_all[low]:+.1f}, {p12_ahead_fca_all[high]:+.1f}] more than all patches, on textures with planted defects; comparing with all takes {p12_all_fca:,.0f} times as long as the median if one loops, and {p12_exact_fca:.1f} times if one looks the same numbers up.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# The aggregate of histograms is their *average*. But the distance between histograms is a sum of $|\cdot|$ as well, bin by bin of the
# *cumulative* histogram. So what does Eq. 7 recommend? Is the result a histogram at all? And should it score above or below the average?
#
# ### Solution
#
# By the argument of the right-hand panel above, the sum of $|v - a_r|$ is smallest at the median of the $a_r$: take, for each bin, the median of the
# cumulative histograms. Each of them rises from bin to bin, hence so do their medians, and the last bin is 1: it is a cumulative histogram. An
# average is drawn along by defective patches and by the tails, a median is not. The package has it: `histogram(..., reference="median")`.

# %% tags=["hide-input"]
whole = panel["histogram", "median, all patches"]
rows = {
    "average": panel["histogram", "aggregate"],
    "median": whole,
    "all": panel["histogram", "all"],
}
solution = pd.DataFrame(
    {
        key: dict(
            zip(
                ("PRO", "low", "high"),
                ledger.t_interval(values.tolist()),
                strict=True,
            )
        )
        for key, values in rows.items()
    }
).T
gain = ledger.t_interval((whole - panel["histogram", "aggregate"]).tolist())
ledger.record(
    "p12_median_histogram",
    dict(zip(("mean", "low", "high"), gain, strict=True)),
    tolerance=0.1,
)
plotting.table(
    solution,
    caption="PRO (%) of the histogram by reference, 95 % interval over seeds",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
ledger.say(
    "The median histogram scores {p12_median_histogram[mean]:+.2f} points above the average [{p12_median_histogram[low]:+.2f}, "
    "{p12_median_histogram[high]:+.2f}], in pairs over seeds."
)
