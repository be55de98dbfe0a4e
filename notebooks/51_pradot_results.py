# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PRADOT: the results
#
# A memory that keeps every patch it can, against a grid of averages that know where they belong: who finds the missing nut, and who finds the scratch?
#
# *Learning Local and Global Prototypes with Optimal Transport for Unsupervised Anomaly Detection and Localization*, Section 4.2, Tables 1, 3
# and 4, Figure 2. Five claims are judged. **pradot-01**: where anomalies are logical, PRADOT beats PatchCore, in detection and in localisation.
# **pradot-03**: where they are not, PatchCore is ahead. **pradot-17**: structural anomalies are localised better than logical ones. Two more are about the
# printed tables themselves: **pradot-02**, PRADOT ranks second on MVTec AD LOCO in both metrics, and **pradot-20**, the classes where it falls behind
# PatchCore are small or freely posed objects.
#
# The paper has MVTec AD LOCO and MVTec AD; so has this page at `scale="paper"`. Otherwise it draws and borrows its own
# pictures: that tests the claims on other data and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds: 0 and 1 were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_loco and mvtec_ad; empty: OTAD_DATA
long = False  # compute the whole grid and store it, as `make results` does

# %% tags=["hide-input"]
import time
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import yaml

from otad import ledger, plotting
from otad.data import annotations
from otad.data.readers import folders, loco
from otad.data.packaged import photographs, solar
from otad.data.drawn import scenes, textures
from otad.data.drawn.defects import KINDS
from otad.data.readers.locations import location
from otad.features.pretrained import (
    efficientnet_lite0,
    resnet50,
    wide_resnet50_2,
)
from otad.methods import Scores
from otad.methods.memory.patchcore import PatchCore
from otad.methods.prototypes.pradot import PRADOT, update
from otad.metrics import Defect, auspro, image_auroc, pixel_auroc
from otad.scale import device, pick

if scale == "paper":
    PLACES = {g: location(g, data_folder) for g in ("mvtec_loco", "mvtec_ad")}

BLUE, RED, GREEN, PINK, ORANGE, SKY = plotting.COLORS[:6]

# %% [markdown]
# ## Stand-ins
#
# | here | classes | stands where the paper has |
# |---|---|---|
# | **scenes** | transistor, tray, bottle, dish: each with four kinds of logical and four of structural defects | MVTec AD LOCO |
# | **panel** | five procedural textures, three photographs, two kinds of solar cells with planted defects, and the transistor once more | MVTec AD |
#
# MVTec AD has a transistor whose defects are partly logical (it lies in the wrong place, a leg is cut): so the scene of that name sits in both rows. Its bottles and
# toothbrushes have no stand-in. A seed draws new pictures, new defects, a new start of the prototypes, and new halves of the photographs.

# %%
side = pick(scale, smoke=48, laptop=128, paper=224)
n_seeds = pick(scale, smoke=2, laptop=5, paper=5)
n_train = pick(scale, smoke=4, laptop=32)  # normal pictures a class
n_good, n_each = pick(scale, smoke=(2, 1), laptop=(10, 2))  # good, of each defect
GROUPS = {
    "scenes": pick(scale, smoke=("transistor",), laptop=scenes.NAMES),
    "textures": pick(scale, smoke=("carpet",), laptop=textures.NAMES),
    "photographs": pick(scale, smoke=(), laptop=photographs.NAMES),
    "cells": pick(scale, smoke=(), laptop=solar.CELLS),
}
LOGICAL, PANEL = "scenes", ("textures", "photographs", "cells")
SHARED = ("transistor",)  # scenes that belong to the panel, too
if scale == "paper":
    GROUPS = {
        name: tuple(reader.categories(PLACES[name]))
        for name, reader in (("mvtec_loco", loco), ("mvtec_ad", folders))
    }
    LOGICAL, PANEL, SHARED = "mvtec_loco", ("mvtec_ad",), ()


@lru_cache(maxsize=1)
def on_disk(group, name):
    reader = loco if group == "mvtec_loco" else folders
    return reader.load(PLACES[group], name, side)


def load(group, name, s):
    """One class and seed; from disk, a seed is one of n_seeds disjoint parts of the test images."""
    if scale == "paper":
        data = on_disk(group, name)
        part = range(len(data.test))[s - seed :: n_seeds]
        lists = ("kinds", "defects", "groups")
        fields = {k: getattr(data, k)[part] for k in ("test", "masks", "labels")}
        fields |= {
            k: [getattr(data, k)[i] for i in part]
            for k in lists
            if hasattr(data, k)
        }
        return replace(data, **fields)
    if group == "cells":
        kinds = ["good"] * n_good + list(KINDS) * n_each
        salt = 50 + solar.CELLS.index(name)
        return solar.planted(name, side, n_train, kinds, s, salt)
    source = {"scenes": scenes, "textures": textures, "photographs": photographs}
    return source[group].load(name, side, n_train, n_good, n_each, seed=s)


# %% [markdown]
# ## The contestants
#
# **PRADOT** as its text has it: Equation 1 with the square, Gaussian start, global ($\alpha = 0$) and local ($\alpha = 0.3$) prototypes on two stages, four maps averaged, the
# image's score is the map's maximum. Two constants are cut to the laptop's size: $n = 4$ prototypes a cell instead of 16 and an average that forgets faster, $\eta = 0.8$ instead
# of 0.95, because it sees a few dozen batches and not hundreds. **PatchCore** with its own defaults, a tenth of the patches chosen
# greedily, with one exception: it averages features over $p \times p$ pixels first, and $p$ is 1 here. Its three pixels of stride 8 are a tenth of a picture of 224 pixels and a fifth of ours; which $p$ it gets is
# searched for below, and the same search is made for PRADOT. The paper cites PatchCore, names no setting and copies its numbers from a benchmark, so we cannot know which PatchCore it beat; three more rows say what depends on that. **All patches**
# keeps the whole memory. **Cosine** scales every feature vector to length one first: PRADOT compares directions, PatchCore distances. And **p = 3** is the default taken literally.

# %%
n, eta, batch_size = pick(
    scale, smoke=(1, 0.5, 2), laptop=(4, 0.8, 8), paper=(16, 0.95, 64)
)
epochs, max_iter = pick(scale, smoke=(2, 10), laptop=(6, 30), paper=(50, 100))
p = pick(
    scale, smoke=1, laptop=1, paper=3
)  # PatchCore's neighbourhood, in map pixels
if scale == "paper":
    net = resnet50(stages=(8, 16), device=device())
    net_of_patchcore = wide_resnet50_2(stages=(8, 16), device=device())
else:
    net = net_of_patchcore = efficientnet_lite0(stages=(8, 16), device=device())


def directions(images):
    return [F.normalize(f, dim=1) for f in net_of_patchcore(images)]


def pooled(size):
    """The backbone, each of its maps averaged over size × size pixels, as PatchCore does."""

    def features(images):
        return [
            F.avg_pool2d(f, size, 1, size // 2, count_include_pad=False)
            for f in net(images)
        ]

    return features


def pradot(s, features=net):
    return PRADOT(
        features,
        n=n,
        eta=eta,
        epochs=epochs,
        batch_size=batch_size,
        max_iter=max_iter,
        seed=s,
    )


def contestants(s):
    """Name to a method not yet fitted."""
    core = {"sigma": 4 * side / 224, "seed": s}  # 4 pixels at 224
    some, net_2 = {"coreset_ratio": 0.1, "patch_size": p}, net_of_patchcore
    return {
        "PRADOT": pradot(s),
        "PatchCore": PatchCore(net_2, **some, **core),
        "PatchCore, all patches": PatchCore(
            net_2, patch_size=p, coreset_ratio=1.0, **core
        ),
        "PatchCore, cosine": PatchCore(directions, **some, **core),
        f"PatchCore, p = {4 - p}": PatchCore(
            net_2, patch_size=4 - p, coreset_ratio=0.1, **core
        ),
    }


METHODS = list(contestants(0))

# %% [markdown]
# Three numbers. *Image AUROC*: are defective pictures ranked above good ones? *Pixel AUROC*: are defective pixels? *AU-sPRO*: the share of each defect that is found, up to what
# is enough, averaged over thresholds that mark at most 5 % of the good pixels (page 02). On LOCO and our scenes logical and structural defects are judged
# apart, each beside all good pictures, and then averaged, as that data set's own evaluation does.


# %%
def numbers_of(data, scored):
    """Metric to percent."""
    maps, tops = scored.maps.cpu(), scored.image_scores.cpu()
    row = {"image": image_auroc(tops, data.labels)}
    row["pixel"] = pixel_auroc(maps, data.masks)
    if hasattr(data, "groups"):
        for kind in annotations.GROUPS:
            which = data.part(kind)
            row[f"image {kind}"] = image_auroc(tops[which], data.labels[which])
            row[f"sPRO {kind}"] = auspro(
                maps[which], [data.defects[i] for i in which]
            )
        for metric in ("image", "sPRO"):
            row[f"{metric} mean"] = np.mean(
                [row[f"{metric} {k}"] for k in annotations.GROUPS]
            )
    return {metric: 100 * float(value) for metric, value in row.items()}


@lru_cache(maxsize=1)
def fitted(group, name, s, train):
    return {
        m: c.fit(train.to(device()))
        for m, c in contestants(0 if scale == "paper" else s).items()
    }


def cell(group, name, s):
    """Fit and judge all methods on one class and seed: rows, the data, and Scores by method."""
    data = load(group, name, s)
    methods = fitted(group, name, 0 if scale == "paper" else s, data.train)
    found = {m: c.score(data.test.to(device())) for m, c in methods.items()}
    found = {
        m: Scores(f.maps.cpu(), f.image_scores.cpu()) for m, f in found.items()
    }
    key = {"what": "score", "group": group, "class": name, "seed": s}
    rows = [key | {"method": m} | numbers_of(data, f) for m, f in found.items()]
    return rows, data, found


# %% [markdown]
# ## Has it learnt enough?
#
# A short training is an easy way to make a method look bad. So on two held-out seeds the learning loop was left to run for twice as long as it is given below,
# and scored on the way: the loop is Algorithm 1, as on page 50. Look for the flat part of the curves, and whether the dotted line is in it.

# %%
marks = pick(scale, smoke=(1, 2), laptop=(1, 2, 3, 4, 6, 9, 12))
WATCHED = pick(scale, smoke=("transistor",), laptop=("tray", "bottle"))
HELD_OUT = pick(scale, smoke=(0,), laptop=(0, 1))


def passes(method, features, alpha):
    """Yield prototypes and mean transport cost after each pass over the features."""
    generator = torch.Generator().manual_seed(method.seed)
    _, c, h, w = features.shape
    ps = torch.randn(method.n, h, w, c, generator=generator).to(features)
    order, costs = torch.randperm(len(features), generator=generator), []
    while True:
        shuffled = order[torch.randperm(len(order), generator=generator)]
        costs = []
        for batch in shuffled.split(method.batch_size):
            coupling = method.transport(features[batch], ps, alpha)
            ps = update(ps, coupling.plan, features[batch], method.eta)
            costs.append(float(coupling.value))
        yield ps, np.mean(costs)


def curve(name, s):
    """Rows of one scene: the cost of transport and the scores after some passes."""
    data, method = load(LOGICAL, name, s), pradot(s)
    with torch.no_grad():
        parts = [net(part.to(device())) for part in data.train.split(16)]
    stages = [torch.cat(maps) for maps in zip(*parts, strict=True)]
    running = [{a: passes(method, f, a) for a in method.alphas} for f in stages]
    rows = []
    for epoch in range(1, marks[-1] + 1):
        states = [{a: next(run) for a, run in r.items()} for r in running]
        if epoch in marks:
            method.prototypes_ = [{a: p for a, (p, _) in x.items()} for x in states]
            cost = float(np.mean([v for x in states for _, v in x.values()]))
            scored = method.score(data.test.to(device()))
            row = {"what": "curve", "class": name, "seed": s, "epochs": epoch}
            rows.append(row | {"cost": cost} | numbers_of(data, scored))
    return rows


# %% [markdown]
# ## Which neighbourhood?
#
# The same two seeds chose $p$, by the same search for both methods: $p = 1$ and $p = 3$, on the same two scenes. PRADOT knows no such average; here it may have one. The better value is given to each.
# (Its learning was also looked at, at each dot of the curves below, so of the two PRADOT had more tries.) Compare 1 and 3 in each pair of rows.

# %%
offered = []
for name in () if scale == "paper" else WATCHED:
    for s in HELD_OUT:
        data = load(LOGICAL, name, s)
        for size in (1, 3):
            rival = PatchCore(net_of_patchcore, size, sigma=4 * side / 224, seed=s)
            tried = {"PRADOT": pradot(s, pooled(size)), "PatchCore": rival}
            for m, method in tried.items():
                learnt = method.fit(data.train.to(device()))
                row = numbers_of(data, learnt.score(data.test.to(device())))
                offered.append({"method": m, "class": name, "p": size} | row)

# %% tags=["hide-input"]
if offered:
    offered = pd.DataFrame(offered).groupby(["method", "class", "p"], sort=False)
    offered = offered.mean()[["image mean", "sPRO mean"]]
    plotting.table(
        offered.rename(
            columns={"image mean": "image AUROC", "sPRO mean": "AU-sPRO"}
        ).reset_index(),
        caption="Both methods on the held-out seeds (%)",
        formats={"image AUROC": "{:.1f}", "AU-sPRO": "{:.1f}"},
    )
    over_scenes = offered.groupby(["method", "p"]).mean()
    ledger.record(
        "p51_search",
        {f"{m} {k}": r.tolist() for (m, k), r in over_scenes.iterrows()},
        tolerance=0.03,
    )

# %% tags=["remove-input"]
if len(offered):
    ledger.say(
        "On the two scenes PRADOT has {p51_search[PRADOT 1][0]:.1f} % image AUROC and {p51_search[PRADOT 1][1]:.1f} % AU-sPRO with $p = 1$, and {p51_search[PRADOT 3][0]:.1f} % and {p51_search[PRADOT 3][1]:.1f} % with $p = 3$; "
        "PatchCore {p51_search[PatchCore 1][0]:.1f} % and {p51_search[PatchCore 1][1]:.1f} %, and {p51_search[PatchCore 3][0]:.1f} % and {p51_search[PatchCore 3][1]:.1f} %. So both are judged with $p = 1$, for PRADOT the method as printed."
    )

# %% [markdown]
# ## The run
#
# All classes, all seeds and the learning curves are a long run, kept with the book, and the verdicts are its. The page computes one seed of eight classes afresh with the same function. PatchCore learns nothing
# by steps, so its rows must come out as stored, but for one exchanged pair of pictures; how far PRADOT's may move on another processor is told by their spread over seeds.

# %%
whole = long or scale != "laptop"
LIVE = {(LOGICAL, name) for name in GROUPS[LOGICAL]}
LIVE |= {("textures", "carpet"), ("textures", "tile")}
LIVE |= {("photographs", "brick"), ("cells", "poly")}
rows, kept = [], {}
for group, names in GROUPS.items():
    for name in names:
        for s in range(seed, seed + n_seeds):
            if whole or (s == seed and (group, name) in LIVE):
                found = cell(group, name, s)
                rows += found[0]
                if s == seed:
                    kept[group, name] = found[1:]
watched = scale != "paper" and (long or scale == "smoke")
if watched:
    rows += [row for c in WATCHED for s in HELD_OUT for row in curve(c, s)]
if long:
    ledger.store(rows)

# %% tags=["hide-input"]
if not whole:
    stored = ledger.stored("51_pradot_results")
    ledger.say(stored.sentence())
    fewest = 4 * n_each  # defective pictures that are judged together
    ledger.agreement(
        "51",
        rows,
        [r for r in stored.value if r["what"] == "score"],
        cell=["group", "class", "seed", "method"],
        scores=[c for c in rows[0] if c.startswith(("image", "pixel", "sPRO"))],
        untrained=lambda row: row["method"] != "PRADOT",
        rounding=100 / (n_good * fewest),
    )
    rows = stored.value
scores = pd.DataFrame([r for r in rows if r["what"] == "score"]).drop(
    columns="what"
)
curves = pd.DataFrame([r for r in rows if r["what"] == "curve"])

# %% tags=["hide-input"]
if len(curves):
    fig, axes = plt.subplots(1, 3, figsize=(9.2, 2.8), layout="constrained")
    for color, (name, lines) in zip(
        (BLUE, RED), curves.groupby("class"), strict=False
    ):
        for k, (_, line) in enumerate(lines.groupby("seed")):
            for ax, column in zip(
                axes, ("cost", "image mean", "sPRO mean"), strict=True
            ):
                ax.plot(
                    line["epochs"],
                    line[column],
                    marker="o",
                    ms=3,
                    color=color,
                    ls=("-", "--")[k],
                    label=f"{name}, seed {line['seed'].iloc[0]}",
                )
    for ax, label in zip(
        axes, ("transport cost", "image AUROC (%)", "AU-sPRO (%)"), strict=True
    ):
        ax.axvline(epochs, color="black", ls=":", lw=1)
        ax.set(xlabel="passes over the normal pictures", title=label)
    axes[0].set_ylim(0)
    fig.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=9,
    )
    plotting.show(
        fig,
        alt="Transport cost, image AUROC and AU-sPRO against passes over the normal pictures, two scenes and two held-out seeds. The cost falls steeply "
        "and is flat before the dotted line; AU-sPRO is flat there as well; image AUROC wanders, that of the tray drifts down.",
    )
    later = curves.pivot_table(
        index=["class", "seed"], columns="epochs", values="sPRO mean"
    )
    gain = float((later[marks[-1]] - later[min(epochs, marks[-1])]).mean())
    ledger.record("p51_longer", gain, tolerance=0.5)

# %% tags=["remove-input"]
if len(curves):
    ledger.say(
        "Twice the learning changes AU-sPRO by {p51_longer:+.1f} points on the held-out seeds, so the protocol stops at the dotted line. Detection on the tray drifts down beyond it: stopping there does PRADOT no harm."
    )

# %% tags=["hide-input"]
with (resources.files("otad.published") / "protocols.yml").open("rb") as file:
    said = yaml.safe_load(file)["pradot"]
hyper = {
    k: v.get("value") for k, v in said["hyperparameters"].items() if k[0] != "i"
}
grids = " and ".join(f"{side // k}x{side // k}" for k in net.strides)
card = {
    "data": (
        f"MVTec AD LOCO, 5 classes; MVTec AD, {said['datasets']['mvtec_ad']['classes']}",
        f"{sum(map(len, GROUPS.values()))} classes",
    ),
    "normal pictures a class": (
        f"{said['datasets']['mvtec_loco']['train_images_per_class']} (LOCO), "
        f"{said['datasets']['mvtec_ad']['train_images_per_class']} (MVTec AD)",
        "as printed" if scale == "paper" else f"{n_train}",
    ),
    "test pictures a class": (
        f"{said['datasets']['mvtec_loco']['test_images_per_class']} (LOCO), "
        f"{said['datasets']['mvtec_ad']['test_images_per_class']} (MVTec AD)",
        f"{n_seeds} disjoint parts"
        if scale == "paper"
        else f"{n_good} good, {n_each} of each of 8 kinds (scenes) or 6",
    ),
    "picture": (
        said["input"] + ", resized, method not stated",
        f"{side}x{side}"
        + (", resized bilinearly" if scale == "paper" else ", no resizing"),
    ),
    "backbone": (
        f"{said['backbone']}, stages 2 and 3, {' and '.join(said['layers']['grids'])}",
        f"{net.name}, {net.weights}, strides {net.strides[0]} and {net.strides[1]}, {grids}",
    ),
    "n, α, η, ε": (
        f"{hyper['n']}; {hyper['alpha_global']} and {hyper['alpha_local']}; {hyper['eta']}; {hyper['epsilon']}",
        f"{n}; 0 and 0.3; {eta}; 0.01",
    ),
    "learning": (
        f"{hyper['epochs']} epochs, batches of {hyper['batch_size']}, {hyper['sinkhorn_iterations']} Sinkhorn iterations",
        f"{epochs} epochs, batches of {batch_size}, {max_iter} iterations; the last epoch is used",
    ),
    "maps": (
        said["pixel_score"],
        "the same; bilinear; no smoothing",
    ),
    "image score": (said["image_score"], "the same"),
    "PatchCore": (
        said["baselines"],
        f"{net_of_patchcore.name}, same strides; p = {p}; coreset 10 % (or all); Eq. 7; σ = {4 * side / 224:.1f} pixels",
    ),
    "ground truth": (
        "not stated",
        f"{side}x{side}"
        + (", nearest" if scale == "paper" else ", exact by construction"),
    ),
    "AU-sPRO": (
        "limit 0.05",
        "limit 0.05, one mask a defect, logical and structural apart, then averaged",
    ),
}
plotting.table(
    pd.DataFrame(card, index=pd.Index(["printed", "here"], name=None)).T,
    caption="Protocol card",
)

# %% [markdown]
# ## Figure 2: found and missed
#
# For each class the defective picture that PRADOT localises best and the one it localises worst, by AU-sPRO of the picture beside all good ones; so the right one of each pair is chosen to look bad. One
# colour scale a row, from its least value, black, to its largest, pale yellow. See what is missed, and whether PatchCore misses the same.


# %%
def pictures(group, name):
    """Indices of the best and the worst localised defective picture, with their AU-sPRO."""
    data, found = kept[group, name]
    good = (~data.labels).nonzero()[:, 0].tolist()
    maps, marks_of = found["PRADOT"].maps, {}
    for i in data.labels.nonzero()[:, 0].tolist():
        mask = data.masks[i]
        area = int(mask.sum())
        marked = (
            data.defects[i] if hasattr(data, "defects") else [Defect(mask, area)]
        )
        marks_of[i] = auspro(maps[[*good, i]], [*[[] for _ in good], marked])
    ordered = sorted(marks_of, key=marks_of.get)
    return [(i, marks_of[i]) for i in (ordered[-1], ordered[0])]


def examples(keys, alt):
    """Three rows: pictures with outlines, PRADOT's and PatchCore's maps, one scale a row."""
    shown = [(key, i, m) for key in keys for i, m in pictures(*key)]
    width = min(9.2, 2 * len(shown))
    fig, axes = plt.subplots(
        3,
        len(shown),
        figsize=(width, width * 3 / len(shown) * 1.12 + 0.3),
        layout="constrained",
        squeeze=False,
    )
    lows = {
        m: [
            f(torch.stack([kept[k][1][m].maps[i] for k, i, _ in shown]))
            for f in (torch.min, torch.max)
        ]
        for m in METHODS[:2]
    }
    for column, (key, i, value) in zip(axes.T, shown, strict=True):
        data, found = kept[key]
        kind = data.kinds[i].replace("_", " ")
        plotting.draw(column[0], data.test[i].movedim(0, -1).numpy())
        column[0].set_title(f"{key[1]}:\n{kind}", fontsize=8)
        if not data.masks[i].all():
            column[0].contour(
                data.masks[i], levels=[0.5], colors=plotting.OUTLINE, linewidths=1
            )
        for ax, m in zip(column[1:], METHODS[:2], strict=True):
            low, high = (float(v) for v in lows[m])
            plotting.draw(ax, found[m].maps[i].numpy(), vmin=low, vmax=high)
        column[1].set_title(f"AU-sPRO {100 * value:.0f}", fontsize=8)
    for ax, label in zip(axes[:, 0], ("picture", *METHODS[:2]), strict=True):
        ax.set_ylabel(label, fontsize=9)
    plotting.show(fig, alt=alt, shows=["pradot Figure 2"])


examples(
    [k for k in kept if k[0] == LOGICAL],
    "Scenes, for each one defect found and one missed: pictures with outlined defects, PRADOT's maps and PatchCore's. Where PRADOT finds the defect its map is "
    "brightest there; in the missed ones the brightest spot lies elsewhere.",
)

# %% tags=["hide-input"]
examples(
    [k for k in kept if k[0] in PANEL][:4],
    "Textures, a photograph and a solar cell, for each one defect found and one missed: pictures with outlines, PRADOT's maps and PatchCore's.",
)
if scale != "paper":
    ledger.say(solar.NOTICE)

# %% [markdown]
# ## Table 1, left: anomalies of logic
#
# Percent, mean of the classes; ± is half the 95 % interval over seeds. Printed are the five classes of LOCO at 224 pixels, measured our four scenes. Compare the order
# of PRADOT and PatchCore, and the size of the step. The other methods of the table come with the benchmark part of this book; until then they have a printed value alone.

# %%
PRINTED = {
    "cutpaste": "CutPaste",
    "stpm": "STPM",
    "padim": "PaDiM",
    "spade": "SPADE",
    "fastflow": "FastFlow",
    "draem": "DRAEM",
    "patchcore": "PatchCore",
    "rd4ad": "RD4AD",
    "pradot": "PRADOT",
}
facts = ledger.numbers(paper="pradot")


def in_print(table, dataset, metric):
    """Printed numbers of a table: a row a method (by the names of this page), a column a class."""
    there = facts[
        (facts["table"] == table)
        & (facts["dataset"] == dataset)
        & (facts["metric"] == metric)
    ]
    wide = there.pivot_table(
        index="method", columns="category", values="number", sort=False
    )
    return wide.rename(index=PRINTED).reindex(list(PRINTED.values()))


def over_seeds(frame):
    """Mean over classes: a row a seed, columns (metric, method)."""
    numeric = frame.drop(columns=["group", "class"])
    return numeric.groupby(["seed", "method"]).mean().unstack()


def measured(table, metric, method):
    """Mean and half the interval over seeds."""
    if (metric, method) not in table.columns:
        return np.nan, np.nan
    mean, low, _ = ledger.t_interval(table[metric, method].tolist())
    return mean, mean - low


def both(dataset, table, metrics):
    """Printed beside measured, a row a method."""
    rows = []
    for method in dict.fromkeys([*PRINTED.values(), *METHODS]):
        row = {"method": method}
        for label, (word, column) in metrics.items():
            old = in_print("Table 1", dataset, word)["mean"]
            row[f"{label} printed"] = old.get(method, np.nan)
            row[f"{label} here"], row[f"{label} ±"] = measured(
                table, column, method
            )
        rows.append(row)
    return pd.DataFrame(rows)


logic = over_seeds(scores[scores["group"] == LOGICAL])
plain = over_seeds(
    scores[scores["group"].isin(PANEL) | scores["class"].isin(SHARED)]
)
table_1 = {
    "loco": both(
        "mvtec_loco",
        logic,
        {
            "image AUROC": ("image_auroc", "image mean"),
            "AU-sPRO": ("spro_0.05", "sPRO mean"),
        },
    ),
    "ad": both(
        "mvtec_ad",
        plain,
        {
            "image AUROC": ("image_auroc", "image"),
            "pixel AUROC": ("pixel_auroc", "pixel"),
        },
    ),
}

# %% tags=["hide-input"]
for key, table in table_1.items():
    here = table.set_index("method").filter(like="here").dropna()
    ledger.record(
        f"p51_table_1_{key}",
        {m: r.tolist() for m, r in here.iterrows()},
        tolerance=0.02,
    )
plotting.table(
    table_1["loco"],
    caption=f"Table 1, printed (MVTec AD LOCO) and here ({len(GROUPS[LOGICAL])} classes, {n_seeds} seeds)",
    formats="{:.1f}",
    shows=["pradot Table 1"],
)

# %% [markdown]
# ## Table 1, right: anomalies of matter
#
# Textures, photographs, cells and the transistor, where hardly anything can be wrong except what is damaged. See by how much PatchCore leads in print, and whether it leads here.

# %% tags=["hide-input"]
plotting.table(
    table_1["ad"],
    caption=f"Table 1, printed (MVTec AD) and here (panel, {n_seeds} seeds)",
    formats="{:.1f}",
    shows=["pradot Table 1"],
)

# %% tags=["hide-input"]
printed_leads = {}
for metric in ("image_auroc", "pixel_auroc"):
    rows_4 = in_print("Table 4", "mvtec_ad", metric).loc[["PatchCore", "PRADOT"]]
    for what, values in (
        ("mean", rows_4["mean"]),
        ("rows", rows_4.drop(columns="mean").mean(axis=1)),
    ):
        printed_leads[f"{metric} {what}"] = values["PatchCore"] - values["PRADOT"]
    printed_leads[f"{metric} PatchCore"] = rows_4.loc["PatchCore", "mean"]
ledger.record("p51_printed_leads", printed_leads)

# %% tags=["remove-input"]
ledger.say(
    "By the printed means PatchCore leads by {p51_printed_leads[image_auroc mean]:.1f} points of image AUROC and {p51_printed_leads[pixel_auroc mean]:.1f} of pixel AUROC. The second is not what the fifteen rows of Table 4 say: "
    "their mean is not the {p51_printed_leads[pixel_auroc PatchCore]:.1f} % that is printed for PatchCore, and by the rows it leads by {p51_printed_leads[pixel_auroc rows]:.1f} points (by {p51_printed_leads[image_auroc rows]:.1f} of image AUROC)."
)

# %% [markdown]
# The same as a picture: printed on the horizontal axis, here on the vertical. If the order were reproduced, the two points of a panel would be joined by a rising line.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(9.2, 2.9), layout="constrained")
titles = [
    (k, m)
    for k, m in (
        ("loco", "image AUROC"),
        ("loco", "AU-sPRO"),
        ("ad", "image AUROC"),
        ("ad", "pixel AUROC"),
    )
]
for ax, (key, metric) in zip(axes, titles, strict=True):
    table = table_1[key].set_index("method").loc[["PatchCore", "PRADOT"]]
    ax.plot(table[f"{metric} printed"], table[f"{metric} here"], color="0.7", lw=1)
    for (method, row), color in zip(table.iterrows(), (RED, BLUE), strict=True):
        ax.errorbar(
            row[f"{metric} printed"],
            row[f"{metric} here"],
            yerr=row[f"{metric} ±"],
            fmt="o",
            color=color,
            capsize=3,
            label=method,
        )
    ax.margins(x=0.3)
    where = "logical" if key == "loco" else "panel"
    ax.set_title(f"{where}: {metric}", fontsize=9)
    ax.set_xlabel("printed (%)", fontsize=9)
axes[0].set_ylabel("here (%)")
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2
)
plotting.show(
    fig,
    alt="Printed against measured values of PatchCore and PRADOT in four panels: image AUROC and AU-sPRO on scenes, image and pixel AUROC on the panel. A rising "
    "line means that the printed order is found here as well.",
    shows=["pradot Table 1"],
)

# %% tags=["hide-input"]
gaps = {
    "logic_image": logic["image mean"],
    "logic_spro": logic["sPRO mean"],
    "plain_image": plain["image"],
    "plain_pixel": plain["pixel"],
}
rivals = {
    "core": "PatchCore",
    "all": "PatchCore, all patches",
    "cosine": "PatchCore, cosine",
    "other": f"PatchCore, p = {4 - p}",
}
ahead = {}
for key, table in gaps.items():
    for short, rival in rivals.items():
        ahead[key, short] = table["PRADOT"] - table[rival]
        mean, low, high = ledger.t_interval(ahead[key, short].tolist())
        ledger.record(
            f"p51_ahead_{key}_{short}",
            {"mean": mean, "low": low, "high": high},
            tolerance=0.1,
        )

# %% tags=["remove-input"]
ledger.say(
    "On scenes PRADOT is {p51_ahead_logic_image_core[mean]:+.1f} points of image AUROC [{p51_ahead_logic_image_core[low]:+.1f}, "
    "{p51_ahead_logic_image_core[high]:+.1f}] and {p51_ahead_logic_spro_core[mean]:+.1f} of AU-sPRO [{p51_ahead_logic_spro_core[low]:+.1f}, "
    "{p51_ahead_logic_spro_core[high]:+.1f}] from PatchCore; from the whole memory {p51_ahead_logic_image_all[mean]:+.1f} and "
    "{p51_ahead_logic_spro_all[mean]:+.1f}, from the one with cosines {p51_ahead_logic_image_cosine[mean]:+.1f} and {p51_ahead_logic_spro_cosine[mean]:+.1f}. On the panel "
    "it is {p51_ahead_plain_image_core[mean]:+.1f} of image AUROC [{p51_ahead_plain_image_core[low]:+.1f}, {p51_ahead_plain_image_core[high]:+.1f}] and "
    "{p51_ahead_plain_pixel_core[mean]:+.1f} of pixel AUROC [{p51_ahead_plain_pixel_core[low]:+.1f}, {p51_ahead_plain_pixel_core[high]:+.1f}]; from the whole memory "
    "{p51_ahead_plain_image_all[mean]:+.1f} and {p51_ahead_plain_pixel_all[mean]:+.1f}, with cosines {p51_ahead_plain_image_cosine[mean]:+.1f} and "
    "{p51_ahead_plain_pixel_cosine[mean]:+.1f}."
)

# %% [markdown]
# ## What decides: a length
#
# Read the row *cosine* against the others. PRADOT looks at the direction of a feature vector and at nothing else; PatchCore measures distances, in which length counts. Is it the prototypes that make the difference, or is it that?

# %% tags=["remove-input"]
if scale != "paper":
    ledger.say(
        "Once PatchCore, too, looks at directions alone, PRADOT's distance to it goes from {p51_ahead_logic_spro_core[mean]:+.1f} to {p51_ahead_logic_spro_cosine[mean]:+.1f} points of AU-sPRO on scenes, and from "
        "{p51_ahead_plain_pixel_core[mean]:+.1f} to {p51_ahead_plain_pixel_cosine[mean]:+.1f} points of pixel AUROC on the panel. The two change in opposite senses: on the scenes, and most on the bottle, length seems to be knowledge (how strong is the edge of the juice?), "
        "on textures it is noise (how much contrast has this patch?). What is left, {p51_ahead_logic_spro_cosine[mean]:+.1f} and {p51_ahead_plain_pixel_cosine[mean]:+.1f}, is what a grid of learnt averages adds to a memory with the same eyes. And the row "
        "with $p = 3$ says how easily a rival is made weak: with it, PRADOT leads by {p51_ahead_logic_spro_other[mean]:.1f} points of AU-sPRO on the scenes."
    )

# %% [markdown]
# ## Table 3: class by class, where logic is at stake
#
# First as printed, image AUROC / AU-sPRO. RD4AD leads in localisation, except on the breakfast box, which has a fixed layout: there PRADOT does.

# %% tags=["hide-input"]
old = {
    m: in_print("Table 3", "mvtec_loco", m) for m in ("image_auroc", "spro_0.05")
}


def pair(a, b):
    return (
        "–"
        if np.isnan(a) and np.isnan(b)
        else f"{a:.1f} / {b:.1f}".replace("nan", "–")
    )


printed_3 = pd.DataFrame(
    {
        c.replace("_", " "): [
            pair(
                old["image_auroc"].loc[m, c],
                old["spro_0.05"]
                .reindex(columns=old["image_auroc"].columns)
                .loc[m, c],
            )
            for m in old["image_auroc"].index
        ]
        for c in old["image_auroc"].columns
    },
    index=pd.Index(old["image_auroc"].index, name=None),
)
plotting.table(
    printed_3,
    caption="Table 3 as printed: image AUROC / AU-sPRO (%)",
    shows=["pradot Table 3"],
)

# %% [markdown]
# Then our scenes in the same form. The dish is the scene where nothing has a place, and number is all that can be wrong: prototypes that know where they belong have no
# business being good there.

# %% tags=["hide-input"]
by_class = scores.groupby(["group", "class", "method"], sort=False).mean(
    numeric_only=True
)
here_3 = by_class.loc[LOGICAL]
table_3 = pd.DataFrame(
    {
        c: [pair(*here_3.loc[(c, m), ["image mean", "sPRO mean"]]) for m in METHODS]
        for c in GROUPS[LOGICAL]
    }
    | {
        "mean": [
            pair(logic["image mean", m].mean(), logic["sPRO mean", m].mean())
            for m in METHODS
        ]
    },
    index=pd.Index(METHODS, name=None),
)
plotting.table(
    table_3,
    caption=f"The same here: image AUROC / AU-sPRO (%), {n_seeds} seeds",
    shows=["pradot Table 3"],
)
ledger.record(
    "p51_table_3",
    {
        f"{c} {m}": here_3.loc[(c, m), ["image mean", "sPRO mean"]].tolist()
        for c in GROUPS[LOGICAL]
        for m in METHODS
    },
    tolerance=0.02,
)

# %% [markdown]
# And split by what is wrong. Each pair of columns is one number for logical and one for structural defects.

# %% tags=["hide-input"]
split = ["image logical", "image structural", "sPRO logical", "sPRO structural"]
parts = here_3[split].reset_index()
parts = parts[parts["method"].isin(METHODS[:2])]
total = parts.groupby("method", sort=False)[split].mean().reset_index()
parts = pd.concat([parts, total.assign(**{"class": "mean"})], ignore_index=True)
plotting.table(
    parts,
    caption="Image AUROC and AU-sPRO (%) by group of defects",
    formats="{:.1f}",
    shows=["pradot Table 3"],
)
found = parts.pivot_table(index="class", columns="method", values="sPRO logical")
ledger.record(
    "p51_split",
    {m: total.set_index("method").loc[m].tolist() for m in METHODS[:2]},
    tolerance=0.02,
)

# %% [markdown]
# ## Table 4: class by class, where it is not
#
# Image AUROC / pixel AUROC. Classes of the same name stand side by side; they are not the same pictures. The last two columns are PatchCore less PRADOT in image AUROC: positive where PRADOT
# falls behind.

# %% tags=["hide-input"]
ad = {m: in_print("Table 4", "mvtec_ad", m) for m in ("image_auroc", "pixel_auroc")}
names_4 = [c for c in ad["image_auroc"].columns if c != "mean"]
ours_4 = {c: g for g in PANEL for c in GROUPS[g]} | dict.fromkeys(SHARED, LOGICAL)
rows = []
for c in dict.fromkeys([*names_4, *ours_4]):
    row, gap_old, gap_new = {"class": c.replace("_", " ")}, np.nan, np.nan
    for m in METHODS[:2][::-1]:
        known = c in names_4
        row[f"{m} printed"] = (
            pair(ad["image_auroc"].loc[m, c], ad["pixel_auroc"].loc[m, c])
            if known
            else "–"
        )
    for m in METHODS[:2][::-1]:
        row[f"{m} here"] = (
            pair(*by_class.loc[(ours_4[c], c, m), ["image", "pixel"]])
            if c in ours_4
            else "–"
        )
    if c in names_4:
        gap_old = float(
            ad["image_auroc"].loc["PatchCore", c]
            - ad["image_auroc"].loc["PRADOT", c]
        )
    if c in ours_4:
        image = by_class.loc[(ours_4[c], c), "image"]
        gap_new = float(image["PatchCore"] - image["PRADOT"])
    rows.append(row | {"gap printed": gap_old, "gap here": gap_new})
table_4 = pd.DataFrame(rows)
plotting.table(
    table_4,
    caption="Table 4: image AUROC / pixel AUROC (%), printed and here",
    formats={"gap printed": "{:+.1f}", "gap here": "{:+.1f}"},
    shows=["pradot Table 4"],
)
ledger.record(
    "p51_table_4",
    {
        f"{c} {m}": by_class.loc[(g, c, m), ["image", "pixel"]].tolist()
        for c, g in ours_4.items()
        for m in METHODS
    },
    tolerance=0.02,
)

# %% [markdown]
# The other five methods of that table, as printed.

# %% tags=["hide-input"]
others = [
    m
    for m in ad["image_auroc"].index
    if m not in METHODS and m in ad["image_auroc"].dropna(how="all").index
]
plotting.table(
    pd.DataFrame(
        {
            m: [
                pair(ad["image_auroc"].loc[m, c], ad["pixel_auroc"].loc[m, c])
                for c in [*names_4, "mean"]
            ]
            for m in others
        },
        index=pd.Index(
            [c.replace("_", " ") for c in [*names_4, "mean"]], name=None
        ),
    ),
    caption="Table 4 as printed, the rest: image AUROC / pixel AUROC (%)",
    shows=["pradot Table 4"],
)

# %% [markdown]
# The two columns of gaps as a picture, sorted. In print the bars grow at the top, where objects are small or lie as they like; textures sit around zero.

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.9), layout="constrained")
small = ("toothbrush", "screw", "capsule")
for ax, column, title in (
    (axes[0], "gap printed", "printed"),
    (axes[1], "gap here", "here"),
):
    bars = table_4.dropna(subset=[column]).sort_values(column)
    colors = [
        ORANGE if c in small else GREEN if c in textures.NAMES else SKY
        for c in bars["class"]
    ]
    ax.barh(range(len(bars)), bars[column], color=colors)
    ax.set_yticks(range(len(bars)), bars["class"], fontsize=9)
    ax.axvline(0, color="black", lw=0.8)
    ax.set(xlabel="image AUROC, PatchCore less PRADOT (points)", title=title)
    ax.locator_params(axis="x", nbins=6)
patches = [
    plt.Rectangle((0, 0), 1, 1, color=c, label=label)
    for c, label in (
        (ORANGE, "named by the claim"),
        (GREEN, "textures"),
        (SKY, "others"),
    )
]
fig.legend(handles=patches, loc="outside lower center", ncols=3)
plotting.show(
    fig,
    alt="Bars of PatchCore's lead over PRADOT in image AUROC by class, printed and here. In print toothbrush, screw and capsule have the three longest bars; "
    "here the classes are others.",
    shows=["pradot Table 4"],
)

# %% [markdown]
# ## Two claims about print
#
# **pradot-02** and **pradot-20** speak of the tables, so the tables judge them. Rank two means: exactly one method above. The margin is how much the third would have to gain, or PRADOT to lose, before that changed.

# %% tags=["hide-input"]
margins = []
for metric, first in (("image_auroc", "CutPaste"), ("spro_0.05", "RD4AD")):
    column = in_print("Table 1", "mvtec_loco", metric)["mean"].dropna()
    mine, rest = column["PRADOT"], column.drop("PRADOT").sort_values()
    margins.append(min(mine - rest.iloc[-2], rest.iloc[-1] - mine))
    assert rest.index[-1] == first
means = {
    m: in_print("Table 3", "mvtec_loco", m)
    .drop(columns="mean")
    .mean(axis=1, skipna=False)
    for m in ("image_auroc", "spro_0.05")
}
ledger.record("p51_rank_margins", margins)
ledger.record(
    "p51_rank_from_classes",
    [
        int((means[m] > means[m]["PRADOT"]).sum() + 1)
        for m in ("image_auroc", "spro_0.05")
    ],
)
padim = {
    t: float(in_print(t, "mvtec_loco", "spro_0.05").loc["PaDiM", "mean"])
    for t in ("Table 1", "Table 3")
}
ledger.record("p51_padim", padim)
ledger.from_published(
    "pradot-02",
    min(margins) > 0,
    min(margins),
    why=f"Second behind CutPaste by image AUROC, where the next is {margins[0]:.1f} points behind, and behind RD4AD by AU-sPRO, where it is {margins[1]:.1f}. "
    f"Averaging the printed classes of Table 3 anew gives the same ranks. PaDiM's AU-sPRO is {padim['Table 1']:.1f} in Table 1 and {padim['Table 3']:.1f} in Table 3; neither changes the rank. "
    "CutPaste has no AU-sPRO, so second of nine and second of eight.",
)

# %% tags=["hide-input"]
image = ad["image_auroc"]
behind = (image.loc["PatchCore"] - image.loc["PRADOT"]).drop("mean").sort_values()
top = list(behind.index[-3:][::-1])
margin = float(behind[list(small)].min() - behind.drop(list(small)).max())
ledger.record("p51_behind", {c: float(behind[c]) for c in behind.index[-4:]})
ledger.from_published(
    "pradot-20",
    margin > 0,
    margin,
    why=f"PatchCore's lead is {', '.join(f'{behind[c]:.1f} on {c}' for c in top)}; the next is {behind.index[-4]} with {behind.iloc[-4]:.1f}. That these objects are small or "
    "lie freely is one reading; the toothbrush is also the class with the fewest normal pictures, fewer than a batch of the public code (page 55).",
)

# %% [markdown]
# ## Verdicts
#
# Two inequalities for each of the first two claims, detection and localisation; a seed gives each a margin, in points, the mean of the classes. A point is what page 52 calls "about equal", and what would have to be
# exceeded for a difference to matter. PatchCore is the one that the search chose; the paper names none.

# %% tags=["hide-input"]
draws = (
    "a seed is one of the disjoint parts of the test images"
    if scale == "paper"
    else "a seed draws new pictures, defects and prototypes of all classes; photographs and cells overlap between seeds"
)
elsewhere = (
    "" if scale == "paper" else " Tested on other pictures than the paper's."
)
MATTERS = {
    "smallest_effect": 1.0,  # point, of any score of this part of the book
    "effect_reason": "what page 52 takes for “about equal”, fixed before the first seed was run",
}
NAMED = {
    "logic_image": "detection, image AUROC",
    "logic_spro": "localisation, AU-sPRO",
    "plain_image": "detection, image AUROC",
    "plain_pixel": "localisation, pixel AUROC",
}
LOGIC, PLAIN = list(NAMED)[:2], list(NAMED)[2:]


def against(keys, short, sign):
    """The inequalities of PRADOT's lead (sign 1) or PatchCore's (-1), a margin a seed."""
    order = "PRADOT > PatchCore" if sign > 0 else "PatchCore > PRADOT"
    return {f"{NAMED[k]}: {order}": (sign * ahead[k, short]).tolist() for k in keys}


def told(keys, sign):
    """What the claim comes to against the other kinds of PatchCore."""
    texts = []
    for short, rival in list(rivals.items())[1:]:
        found = ledger.judge(against(keys, short, sign))
        means = " and ".join(f"{e.mean:+.1f}" for e in found.inequalities.values())
        name = rival.removeprefix("PatchCore, ")
        texts.append(f"{name}: {ledger.spoken(found.word)} ({means} points)")
    return "Against PatchCore's variants, " + "; ".join(texts) + "."


def turns():
    """A sentence where the word depends on the rival's neighbourhood."""
    words = {
        k: ledger.spoken(ledger.judge(against(LOGIC, k, 1)).word)
        for k in ("core", "other")
    }
    if scale == "paper" or words["core"] == words["other"]:
        return ""
    return (
        f"It depends on the rival. With p = {p}, which one search on held-out seeds chose for both methods: {words['core']}. Against PatchCore with "
        f"p = {4 - p}, its own default, which here covers {224 / side:.2g} times the share of the picture that it covers at 224 pixels: {words['other']}."
    )


each = {
    g: logic[f"sPRO {g}"]["PRADOT"] - logic[f"sPRO {g}"]["PatchCore"]
    for g in annotations.GROUPS
}
lead = here_3["sPRO mean"].unstack()
lead = (lead["PRADOT"] - lead["PatchCore"]).reindex(GROUPS[LOGICAL])
sense = (
    "as an explanation by logic would have it"
    if each["logical"].mean() > each["structural"].mean()
    else "the reverse of an explanation by logic"
)
ledger.verdict(
    "pradot-01",
    against(LOGIC, "core", 1),
    resampling=draws,
    unit="points",
    why=f"By AU-sPRO PRADOT is {each['logical'].mean():+.1f} points from PatchCore on logical and {each['structural'].mean():+.1f} on structural defects, {sense}; by class "
    f"{', '.join(f'{c} {v:+.1f}' for c, v in lead.items())}. {told(LOGIC, 1)}{elsewhere}",
    reading=turns(),
    **MATTERS,
)

# %% tags=["hide-input"]
by_group = {
    g: over_seeds(scores[scores["group"] == g]) for g in PANEL if len(GROUPS[g])
}
leads = ", ".join(
    f"{g} {(t['image', 'PatchCore'] - t['image', 'PRADOT']).mean():+.1f} / {(t['pixel', 'PatchCore'] - t['pixel', 'PRADOT']).mean():+.1f}"
    for g, t in by_group.items()
)
ledger.verdict(
    "pradot-03",
    against(PLAIN, "core", -1),
    resampling=draws,
    unit="points",
    why=f"PatchCore's lead in image / pixel AUROC: {leads}. {told(PLAIN, -1)}"
    + (
        ""
        if scale == "paper"
        else f" Here PatchCore remembers {n_train} normal pictures, there up to 300 (what that is worth, the exercise asks); and the features are EfficientNet-Lite0's, whose lengths carry contrast: cosines alone close most of the gap."
    )
    + elsewhere,
    **MATTERS,
)

# %% tags=["hide-input"]
apart = logic["sPRO structural"]["PRADOT"] - logic["sPRO logical"]["PRADOT"]
single = (
    scores[(scores["group"] == LOGICAL) & (scores["method"] == "PRADOT")]
    .groupby("class", sort=False)[["sPRO structural", "sPRO logical"]]
    .mean()
)
single = single["sPRO structural"] - single["sPRO logical"]
core = (
    logic["sPRO structural"]["PatchCore"] - logic["sPRO logical"]["PatchCore"]
).mean()
ledger.verdict(
    "pradot-17",
    {"AU-sPRO: structural > logical": apart.tolist()},
    resampling=draws,
    unit="points",
    why=f"By class: {', '.join(f'{c} {v:+.1f}' for c, v in single.items())}; PatchCore has {core:+.1f}. The two groups have different masks and different areas that are enough, so the gap "
    "measures the annotation as well as the method." + elsewhere,
    **MATTERS,
)

# %% [markdown]
# ## Paper against code
#
# What this page had to decide for the tables, and what the text and the public code say; page 55 measures the differences.
#
# | | the paper | the authors' code | here |
# |---|---|---|---|
# | seeds | not stated | one, 0 | five; prototypes and data drawn anew |
# | which epoch | not stated | the one of least validation cost | the last |
# | image score on LOCO | AUROC | official evaluation: logical and structural apart, then the mean | the same |
# | AU-sPRO on LOCO | following the data set's authors | defects of a picture merged into one mask of 224 pixels | one mask a defect |
# | stages, local and global | averaged | four separate runs, their maps averaged | one object, the same mean |
# | PatchCore's numbers | copied from a benchmark | – | measured, three variants |
#
# ## What it costs
#
# Seconds a class, to learn and to score one picture. PRADOT pays when it learns, a memory pays when it is asked.

# %% tags=["timing", "hide-input"]
data = next(iter(kept.values()))[0]
costs = {}
for m, method in contestants(0).items():
    start = time.perf_counter()
    method.fit(data.train.to(device()))
    learnt = time.perf_counter()
    method.score(data.test[:4].to(device()))
    asked = (time.perf_counter() - learnt) / len(data.test[:4])
    if m == "PRADOT":
        stored_numbers = sum(
            p.numel() for stage in method.prototypes_ for p in stage.values()
        )
    else:
        stored_numbers = method.memory_.numel()
    costs[m] = {
        "learn (s)": learnt - start,
        "score a picture (ms)": 1000 * asked,
        "kept (MB)": 4e-6 * stored_numbers,
    }
costs = pd.DataFrame(costs).T.rename_axis(None)
ledger.record("p51_learn_seconds", costs["learn (s)"].to_dict(), timing=True)
plotting.table(
    costs,
    caption=f"One class, {len(data.train)} normal pictures of {side} pixels",
    formats={
        "learn (s)": "{:.2f}",
        "score a picture (ms)": "{:.0f}",
        "kept (MB)": "{:.2f}",
    },
    timing=True,
)

# %% [markdown]
# What PRADOT keeps does not grow with the number of normal pictures; at the paper's size it is $16 \cdot (28^2 \cdot 512 + 14^2 \cdot 1024)$ numbers for each $\alpha$. While it learns, the plan of
# a batch is the largest thing in memory: $4\, BHW \cdot nHW$ bytes.

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Who wins, prototypes or a memory? PRADOT less PatchCore is {p51_ahead_logic_spro_core[mean]:+.1f} points of AU-sPRO [{p51_ahead_logic_spro_core[low]:+.1f}, {p51_ahead_logic_spro_core[high]:+.1f}] where anomalies are logical, and where they are not {p51_ahead_plain_pixel_core[mean]:+.1f} points of pixel AUROC [{p51_ahead_plain_pixel_core[low]:+.1f}, {p51_ahead_plain_pixel_core[high]:+.1f}], on "
    + (
        "the paper's data"
        if scale == "paper"
        else "drawn scenes, textures, photographs and solar cells"
    )
    + ".",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# A memory should gain from more normal pictures, an average should not care much. Halve the normal pictures, and halve them again, on one scene and one texture. Who loses more? And would you expect the
# printed gap on MVTec AD, with a few hundred pictures, from what you see?

# %% [markdown]
# ### Solution
#
# Pixel AUROC of the first seed, with the learning of PRADOT kept at the same number of batches.

# %% tags=["hide-input"]
rows = []
shares = pick(scale, smoke=(1,), laptop=(4, 2, 1))
for key in [
    k
    for k in kept
    if k[1] in pick(scale, smoke=("carpet",), laptop=("tray", "tile"))
]:
    data, found = kept[key]
    for share in shares:
        few = data.train[: len(data.train) // share]
        row = {"class": key[1], "normal pictures": len(few)}
        for m in METHODS[:2]:
            method = contestants(seed)[m]
            if m == "PRADOT":
                method.epochs = epochs * share
            again = (
                found[m]
                if share == 1
                else method.fit(few.to(device())).score(data.test.to(device()))
            )
            row[m] = 100 * pixel_auroc(again.maps.cpu(), data.masks)
        rows.append(row)
solution = pd.DataFrame(rows, columns=["class", "normal pictures", *METHODS[:2]])
if len(solution):
    ledger.record(
        "p51_few",
        {
            f"{r['class']} {r['normal pictures']}": [r[m] for m in METHODS[:2]]
            for _, r in solution.iterrows()
        },
        tolerance=0.02,
    )
    plotting.table(solution, caption="Pixel AUROC (%)", formats="{:.1f}")
    ends = solution.groupby("class", sort=False)[METHODS[:2]]
    gains = (ends.last() - ends.first()).mean()
    ledger.record("p51_few_gains", gains.to_dict(), tolerance=0.3)

# %% tags=["remove-input"]
if len(solution):
    ledger.say(
        "From the fewest to all, PatchCore gains {p51_few_gains[PatchCore]:+.1f} points and PRADOT {p51_few_gains[PRADOT]:+.1f}, mean of the classes. One seed and one metric: enough for a "
        "guess, not for a verdict."
    )
