# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TTAD: the results
#
# The light has changed, nobody has labelled anything, and the network is allowed to look at today's pictures before it judges them. How much of what was
# lost on page 30 does that bring back, and what does it break?
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 3.5 and 4.1 to 4.3,
# Algorithm 1, Tables 1 to 3 and what there is of Tables 5 to 7. Six claims are judged. **ttad-04**: aligning by a single Gaussian is worse than not adapting, in most cases.
# **ttad-05**: TTAD has the best image AUROC under noise, blur and brightness. **ttad-07**: under blur and brightness it comes within about two points of the clean
# score. **ttad-08**: it has the best pixel AUROC under all four corruptions. Two are claims about printed tables, and are checked in print: **ttad-09** (Real-IAD, pixels)
# and **ttad-16** (MVTec 3D-AD). **ttad-20**, one pass is enough on the large data set, needs the large data set; why is said below. **ttad-06**, about the rival GNL,
# is judged on page [35](35_ttad_qualitative). The data here are others than the paper's: this tests the claims and reproduces no printed value. (In the copy of the paper that was
# read, the body of Algorithm 1, Tables 5 and 7 and all but one block of Table 6 are lost.)

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds: 0 and 1 were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad or realiad; empty: the one that OTAD_DATA names
dataset = "mvtec_ad"  # or "realiad", of which the top views are used
long = False  # compute the whole grid and store it, as `make results` does

# %% tags=["hide-input"]
import copy
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

from otad import ledger, plotting
from otad.data.readers import folders, realiad
from otad.data.packaged import solar
from otad.data.drawn.corruptions import KINDS, corrupt
from otad.data.readers.locations import location
from otad.features.pretrained import efficientnet_lite0, wide_resnet50_2
from otad.methods.memory.patchcore import patch_features
from otad.methods.memory.ttad import (
    TTAD,
    assign,
    distances,
    draw_views,
    transport_loss,
    turn,
)
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.transport import hard_plan, sinkhorn

if scale == "paper":
    place = location(dataset, data_folder)
    reader = {"mvtec_ad": folders, "realiad": realiad}[dataset]

BLUE, RED, GREEN, PINK = plotting.COLORS[:4]

# %% [markdown]
# ## An arena, and what fits a laptop
#
# Page 30 fixed which classes may be used, and which of them decide: monocrystalline solar cells with **planted** defects, which have masks. The **real** defects of all designs passed
# as well, but there a design gives many of them away: they stand beside, flagged, and decide nothing. Page 30 also chose, on held-out seeds, the **matched severities**: those
# at which an unadapted PatchCore loses about as much as in print. Verdicts are judged there. Severity 5, which leaves our planted cells little to be rescued from, stands beside.
#
# The sizes are cut so that a laptop can compute the whole grid: 128 pixels, 500 memory entries, thirty test pictures, half of them defective, so three steps of ten pictures an
# epoch and **nine in all**. The paper takes ten epochs of about twelve steps. At `scale="paper"` this page does so too: ten epochs over the whole test set of a class (one for Real-IAD),
# in batches of ten, nothing frozen, at severity 5, and with the one printed learning rate.

# %%
side = pick(scale, smoke=64, laptop=128, paper=224)
n_train = pick(scale, smoke=8, laptop=100)
n_good, n_each = pick(scale, smoke=(3, 1), laptop=(15, 5))
MATCHED = {
    "gaussian noise": 1,
    "defocus blur": 1,
    "brightness": 1,
    "contrast": 4,
}  # page 30 chose them
HARDEST = dict.fromkeys(KINDS, 5)
SEVERITY = pick(scale, smoke=MATCHED, laptop=MATCHED, paper=HARDEST)
n_entries = pick(scale, smoke=60, laptop=500, paper=2090)
n_epochs = pick(scale, smoke=1, laptop=3, paper=1 if dataset == "realiad" else 10)
frozen = pick(scale, smoke=4, laptop=4, paper=0)  # stages up to this stride
PLANTED = ("cut", "hole", "contamination")


def planted(s):
    """Monocrystalline cells with planted defects, and their masks."""
    kinds = ["good"] * n_good + list(PLANTED) * n_each
    return solar.planted("mono", side, n_train, kinds, s, salt=30)


def real(s):
    """Monocrystalline cells of all designs with the defects they came with."""
    return solar.load("mono", side, n_train, n_good, 3 * n_each, s, "all")


ARENA = {"mono, planted defects": planted, "mono, real, all designs": real}
FLAGGED = ("mono, real, all designs",)  # shown, and never judged: page 30
if scale == "paper":
    ARENA = {
        name: lambda s, name=name: reader.load(place, name, size=side)
        for name in reader.categories(place)
    }
net = (
    wide_resnet50_2(stages=(8, 16), device=device())
    if scale == "paper"
    else efficientnet_lite0(stages=(8, 16), device=device())
)


def fit(name, s):
    """A class's pictures, and the memory of its clean ones."""
    data = ARENA[name](s)
    ttad = TTAD(net, n_memory=n_entries, epochs=n_epochs, frozen=frozen, seed=s)
    return data, ttad.fit(data.train.to(device()))


def shift(data, condition, severity, s):
    if condition == "clean":
        return data.test.to(device())
    return corrupt(data.test, condition, severity, seed=s).to(device())


# %% [markdown]
# ## The loop
#
# Algorithm 1 should stand here. The version that was read (the welcome page says which) lacks its body; Sections 3.3 to 3.5 describe it well enough to write it down. $\theta$ are the scales and shifts of
# batch norm, $\mathcal M$ is the memory, $z_i$ are the patches of a batch and its views, $\gamma^*$ is the plan of Equation 5 and $\pi^*$ its discrete version, Equation 6. The plan is
# held fixed while the loss is differentiated. One liberty: the sum of Equation 6 is divided by its number of links. As printed, it would be thousands of times
# larger, and so would be the steps.


# %%
def algorithm_1(ttad, target):
    """Yield the loss of each step."""
    net, memory = copy.deepcopy(ttad.backbone), ttad.memory_
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    theta = [p.requires_grad_(True) for layer in norms for p in layer.parameters()]
    sgd = torch.optim.SGD(theta, lr=ttad.lr, momentum=ttad.momentum)
    rng = torch.Generator().manual_seed(ttad.seed)
    for _ in range(ttad.epochs):
        for batch in torch.randperm(len(target), generator=rng).split(10):
            views = draw_views(len(batch), "flips", ttad.views, True, rng)
            seen = [
                turn(target[i], int(v))
                for i, of_i in zip(batch, views, strict=True)
                for v in of_i
            ]
            z = patch_features(net(torch.stack(seen))).movedim(1, -1).flatten(0, 2)
            gamma = assign(z.detach(), memory, "continuous")  # Eqs. 4 and 5
            pi = hard_plan(gamma)  # Eq. 6
            loss = transport_loss(z, memory, pi) / pi.sum()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            yield float(loss.detach()), int(pi.sum()), len(z)


# %% [markdown]
# The package does the same with a few savings. Ten pictures, two epochs, nothing frozen: the losses must agree.

# %%
name = next(iter(ARENA))
data, ttad = fit(name, seed)
images = shift(data, "brightness", 5, seed)
first = replace(ttad, frozen=0, epochs=2)
by_hand = list(algorithm_1(first, images[:10]))
package = first.adapt(images[:10]).losses_

# %% tags=["hide-input"]
loop = pd.DataFrame(by_hand, columns=["loss", "links", "patches"])
loop.insert(0, "step", range(1, len(loop) + 1))
loop["loss of the package"] = package
gap = float((loop["loss"] / loop["loss of the package"] - 1).abs().max())
ledger.record("p33_loop_gap", gap, below=1e-4)
if gap > 1e-3:
    raise AssertionError(f"the loop and the package differ by {gap:.1e}")
plotting.table(
    loop,
    caption="Algorithm 1 by hand and by the package: mean distance along the links",
    formats="{:.3f}",
    shows=["ttad Algorithm 1"],
)

# %% [markdown]
# ## The contestants
#
# All are PatchCore's memory with an adapted network in front of it. **PatchCore** does not adapt. **TTT++** matches means and covariances of all patches, **TTAC** takes the KL
# divergence of two Gaussians (Equation 3): both as the paper's Table 4 has them, as losses for the same parameters. **TTAD** is the discrete plan with two turned or mirrored views
# of each picture. The other rows are for page [34](34_ttad_ablation), and computed here because the run is one.
#
# The paper gives one learning rate, 0.003, and does not say for which of them. But a squared difference of covariances and a mean distance have different units, so a common rate would be a
# handicap drawn by lot. Here each loss gets the best of several rates on held-out seeds, by the *labelled* AUROC that nobody has at test time: this is kinder than life, and equally
# kind to all. (Copies and the continuous plan share the rate of *discrete*.) TTT++ and TTAC are also run at the printed rate, beside.

# %%
METHODS = {
    "PatchCore": {"alignment": "none"},
    "TTT++": {"alignment": "moments", "augmentation": "none"},
    "TTAC": {"alignment": "kl", "augmentation": "none"},
    "Hungarian": {"alignment": "hungarian", "augmentation": "none"},
    "continuous": {"alignment": "continuous", "augmentation": "none"},
    "discrete": {"alignment": "discrete", "augmentation": "none"},
    "discrete, copy": {"alignment": "discrete", "augmentation": "copy"},
    "TTAD": {"alignment": "discrete", "augmentation": "flips"},
    "BN statistics": {
        "augmentation": "none",
        "update": "bn_statistics",
        "frozen": 0,
    },
    "all parameters": {"augmentation": "none", "update": "all"},
}
RIVALS = ["PatchCore", "TTT++", "TTAC", "TTAD"]
PRINTED_RATE = 0.003
AS_PRINTED = {f"{m}, rate 0.003": METHODS[m] for m in ("TTT++", "TTAC")}
UNFROZEN = {"discrete, all stages": METHODS["discrete"] | {"frozen": 0}}
TRANSPORT = (0.0003, 0.001, 0.003, 0.01, 0.03)
RATES = {
    "TTT++": (1e-8, 1e-7, 1e-6, 1e-5, 1e-4),
    "TTAC": (1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
    "TTAD": TRANSPORT,
    "Hungarian": TRANSPORT,
    "discrete": TRANSPORT,
    "all parameters": (0.0001, 0.0003, 0.001),
    "discrete, all stages": (0.003,),
}
SHARED = {"continuous": "discrete", "discrete, copy": "discrete"}  # rates


# %%
def aurocs(detector, images, data):
    """Image and pixel AUROC in percent; without masks, no pixel AUROC."""
    scores = detector.score(images)
    if not bool(scores.maps.isfinite().all()):
        raise FloatingPointError("adapted features have overflown")
    found = [100 * image_auroc(scores.image_scores, data.labels)]
    if data.masks is not None:
        found.append(100 * pixel_auroc(scores.maps, data.masks))
    return found


def adapt(ttad, images, data, start, curve=True, **settings):
    """AUROCs before and after each epoch, or after the last one only; the first step's loss."""
    found, losses, failed = [start], [], False
    try:
        for one in replace(ttad, **settings).adapting(images):
            losses = one.losses_
            if curve:
                found.append(aurocs(one, images, data))
        if not curve:
            found.append(aurocs(one, images, data))
    except FloatingPointError:  # the unadapted scores stay what they were
        found, failed = [*found, start], True
    return {"curve": found, "failed": failed, "first loss": (losses or [None])[0]}


def checksums(images):
    """What any machine must find alike: the mean, and one that notices another order."""
    ramp = torch.linspace(0, 1, images.numel()).view_as(images).to(images)
    return {"mean": float(images.mean()), "ramp": float((ramp * images).mean())}


def cells(name, s, plan, curves=()):
    """Rows of one class and seed; plan: (condition, severity) to (method, learning rate) pairs."""
    data, ttad = fit(name, s)
    for (condition, severity), settings in plan.items():
        images = shift(data, condition, severity, s)
        start = aurocs(ttad, images, data)
        row = {
            "class": name,
            "seed": s,
            "condition": condition,
            "severity": severity,
        }
        row |= checksums(images)
        for method, lr in settings:
            found = {"curve": [start], "failed": False}
            if method != "PatchCore":
                how = (METHODS | UNFROZEN | AS_PRINTED)[method] | {"lr": lr}
                found = adapt(ttad, images, data, start, method in curves, **how)
            ends = dict(zip(("image", "pixel"), found["curve"][-1], strict=False))
            yield row | {"method": method, "lr": lr} | ends | found


# %% [markdown]
# An adaptation that fails, because its loss is no longer a number, leaves the unadapted scores: they are what counts for it in every table, and failures are counted. The value after the
# **last** epoch is the result. The best epoch can only be picked with labels; it is printed beside it, because elsewhere it is often what is reported.


# %%
def shifts(severity, settings):
    """A plan for `cells`: all four corruptions, each at its severity."""
    return {(kind, severity[kind]): settings for kind in KINDS}


def held_out():
    """Learning rates tried on the judged class and on seeds that no verdict uses."""
    settings = [(m, lr) for m, rates in RATES.items() for lr in rates]
    for s in (0, 1):
        for row in cells(next(iter(ARENA)), s, shifts(SEVERITY, settings)):
            yield row | {"phase": "held out"}


def chosen(rows):
    """The rate of the best mean image AUROC over held-out seeds and corruptions."""
    mean = pd.DataFrame(rows).groupby(["method", "lr"])["image"].mean()
    return {m: float(mean[m].idxmax()) for m in RATES if m not in UNFROZEN}


def grid(rates):
    """The verdicts' rows, and beside them the rivals at severity 5 and on flagged classes."""
    rate = {m: rates.get(SHARED.get(m, m), PRINTED_RATE) for m in METHODS}
    if rates:
        rate |= dict.fromkeys(AS_PRINTED, PRINTED_RATE)
    every, rivals, clean = (
        [(m, rate[m]) for m in names]
        for names in (rate, RIVALS, ("PatchCore", "TTAD"))
    )
    for s in SEEDS:
        for name in ARENA:
            plan = {("clean", 0): clean} | shifts(SEVERITY, every)
            if name in FLAGGED:
                plan = {("clean", 0): clean[:1]} | shifts(SEVERITY, rivals)
            elif SEVERITY != HARDEST and s in BESIDE:
                both = [pair for pair in every if pair[0] in (*RIVALS, *AS_PRINTED)]
                plan |= shifts(HARDEST, both)
            if name not in FLAGGED or s in BESIDE:
                curves = () if name in FLAGGED else RIVALS
                for row in cells(name, s, plan, curves):
                    yield row | {"phase": "judged"}


# %% [markdown]
# ## Live and stored
#
# The grid is a long run, kept in `results/`. What this page computes while you wait is a slice of it, with the functions above. On any machine the pictures, the unadapted scores and
# the loss of the first step must agree; what nine steps make of a rounded sum may differ, and is told.

# %%
n_seeds, n_beside = pick(scale, smoke=(10, 5), laptop=(10, 5), paper=(5, 5))
SEEDS, BESIDE = (range(seed, seed + n) for n in (n_seeds, n_beside))
if scale == "paper":  # the printed rate for all
    rows = list(grid({}))
elif long:
    rows = list(held_out())
    rows += grid(chosen(rows))
    ledger.store(rows)
else:
    stored = ledger.stored("33_ttad_results")
    rows = stored.value
frame = pd.DataFrame(rows)
tried, table = (frame[frame["phase"] == p] for p in ("held out", "judged"))
decides = ~table["class"].isin(FLAGGED)
matched = table["severity"] == table["condition"].map(SEVERITY | {"clean": 0})
judged = table[decides & matched]  # what the verdicts see
VIEWS = {"": judged, ", severity 5": table[decides & ~matched]}
VIEWS[", flagged class"] = table[~decides & matched]

# %% tags=["hide-input"]
if scale != "paper" and not long:
    rate = table.groupby("method")["lr"].first()
    settings = [(m, float(rate[m])) for m in RIVALS]
    bright = {("brightness", SEVERITY["brightness"]): settings}
    classes = list(ARENA)[: pick(scale, smoke=1, laptop=2)]
    live = [row for name in classes for row in cells(name, seed, bright)]
if scale == "laptop" and not long:
    ledger.say(stored.sentence())
    ledger.agreement(
        "33",
        live,
        table.to_dict("records"),
        cell=["class", "seed", "condition", "severity", "method"],
        scores=["image", "pixel"],
        same=["lr", "mean", "ramp", "first loss"],
        untrained=lambda row: row["method"] == "PatchCore",
        rounding=100 / (n_good * 3 * n_each),  # an exchanged pair of pictures
    )

# %% [markdown]
# ## The learning rate
#
# Held-out seeds 0 and 1, planted defects, all four corruptions at their matched severities: each number is a mean over eight cells. Look at how far the rows of one method lie apart,
# and compare that with how far the methods do.

# %% tags=["hide-input"]
if len(tried):
    rates = (
        tried.assign(gain=tried["image"] - [c[0][0] for c in tried["curve"]])
        .groupby(["method", "lr"], sort=False)
        .agg({"image": "mean", "gain": "mean", "pixel": "mean", "failed": "sum"})
        .reset_index()
    )
    picked = chosen(tried.to_dict("records"))
    rates["chosen"] = [
        "yes" if picked.get(r["method"]) == r["lr"] else ""
        for r in rates.to_dict("records")
    ]
    rates["lr"] = [f"{lr:g}" for lr in rates["lr"]]
    of_rate = rates.set_index(["method", "lr"])
    ledger.record(
        "p33_rates",
        {f"{m} {lr}": r.to_dict() for (m, lr), r in of_rate.iterrows()},
        tolerance=0.02,
    )
    plotting.table(
        rates.rename(
            columns={
                "lr": "learning rate",
                "image": "image AUROC",
                "gain": "over unadapted",
                "pixel": "pixel AUROC",
            }
        ),
        caption="Held-out seeds, percent and points",
        formats={
            "image AUROC": "{:.1f}",
            "over unadapted": "{:+.1f}",
            "pixel AUROC": "{:.1f}",
        },
    )

# %% tags=["remove-input"]
if len(tried):
    by_method = rates[rates["method"].isin(list(picked))].groupby("method")["image"]
    spread = by_method.agg(lambda x: x.max() - x.min()).to_dict()
    top = by_method.max()[RIVALS[1:]]
    ledger.record(
        "p33_rate_spread",
        spread | {"between methods": float(top.max() - top.min())},
        tolerance=0.02,
    )
    ledger.record("p33_best_rates", picked)
    edge = [m for m, lr in picked.items() if lr in (min(RATES[m]), max(RATES[m]))]
    ledger.record("p33_edge", ", ".join(edge) or "none")
    ledger.say(
        "The best rates are {p33_best_rates[TTT++]:g} for TTT++, {p33_best_rates[TTAC]:g} for TTAC and {p33_best_rates[TTAD]:g} for TTAD; 0.003 is printed. "
        "From its worst rate to its best, TTT++ gains {p33_rate_spread[TTT++]:.1f} points, TTAC {p33_rate_spread[TTAC]:.1f}, TTAD "
        "{p33_rate_spread[TTAD]:.1f}; from the worst method to the best, each at its best, it is {p33_rate_spread[between methods]:.1f}. Whoever compares them at one common rate "
        "compares rates. Best at the edge of what was tried, so that they might do better beyond it: {p33_edge}."
    )

# %% [markdown]
# ## Image AUROC
#
# Table 1, printed and here. In print the clean column of TTT++, TTAC and TTAD repeats PatchCore's number: nothing was adapted there. Here TTAD's clean entry *is* adapted, to clean
# pictures, as nobody tells a method that nothing has changed. Here and there, look along a row for the corruption where adapting costs something.

# %% tags=["hide-input"]
ORDER = ["clean", *KINDS]
PRINTED = {c: c.replace(" ", "_") for c in ORDER}
KEY = {"PatchCore": "patchcore", "TTT++": "tttpp", "TTAC": "ttac", "TTAD": "ttad"}
SETS = {"MVTec AD, printed": "mvtec_ad", "Real-IAD, printed": "realiad"}


def in_print(number, dataset, method):
    found = ledger.numbers(
        paper="ttad", table=number, dataset=dataset, method=method
    )
    of = {s.split("corruption=")[1].split(";")[0]: n for s, n in zip(found["setting"], found["number"], strict=True)}  # fmt: skip
    return [of.get(PRINTED[c], np.nan) for c in ORDER]


def means(metric):
    """Name of class and condition to the means over seeds, a row a method."""
    found = {}
    for told, part in VIEWS.items():
        for name, of in part.dropna(subset=[metric]).groupby("class", sort=False):
            grid = of.pivot_table(
                index="method", columns="condition", values=metric
            )
            names = [m for m in (*RIVALS, *AS_PRINTED) if m in grid.index]
            found[name + told] = grid.reindex(index=names, columns=ORDER)
    return found


def beside(number, metric):
    """The printed rows of a table, and ours."""
    lines = [
        {"class": shown, "method": m} | dict(zip(ORDER, in_print(number, d, KEY[m]), strict=True))
        for shown, d in SETS.items()
        for m in RIVALS
    ]  # fmt: skip
    for name, grid in means(metric).items():
        lines += [
            {"class": name, "method": m} | r for m, r in grid.T.to_dict().items()
        ]
    return pd.DataFrame(lines)


for metric in ("image", "pixel"):
    for name, grid in means(metric).items():
        kept = {m: r.dropna().to_dict() for m, r in grid.iterrows()}
        ledger.record(f"p33_{metric} {name}", kept, tolerance=5e-3)
plotting.table(
    beside("Table 1", "image"),
    caption=f"Image AUROC (%), last epoch, mean over {n_seeds} seeds ({n_beside} at severity 5 and for the flagged class)",
    formats="{:.1f}",
    shows=["ttad Table 1", "ttad Table 5"],
)

# %% tags=["remove-input"]
first = next(iter(ARENA))
if scale != "paper":
    base, hard = f"p33_image {first}", f"p33_image {first}, severity 5"

    def listed(key, method):
        return ", ".join(f"{{{key}[{method}][{kind}]:.0f}}" for kind in KINDS)

    ledger.say(
        "Under noise, blur, brightness and contrast, at the matched severities, the unadapted memory has "
        f"{listed(base, 'PatchCore')}; TTT++ ends at {listed(base, 'TTT++')}, TTAC at {listed(base, 'TTAC')}, TTAD at {listed(base, 'TTAD')}. "
        f"At severity 5 the unadapted memory has {listed(hard, 'PatchCore')}, and TTAD ends at {listed(hard, 'TTAD')}: from near chance "
        "there is little way up, whoever leads."
    )

# %% [markdown]
# (The printed row of TTAC on MVTec AD has lost a number and is shifted by one column, as Table 4 of the paper shows; 55.34 stands in it twice. Table 5, the same by class, is not in
# the version that was read; by class is what ours is anyway.)
#
# ## Pixel AUROC
#
# Table 3, for the class that has masks. A chance map has 50; below that, a defect looks *more* normal than its surroundings (page 30 says why).

# %% tags=["hide-input"]
plotting.table(
    beside("Table 3", "pixel"),
    caption=f"Pixel AUROC (%), last epoch, mean over {n_seeds} seeds ({n_beside} at severity 5)",
    formats="{:.1f}",
    shows=["ttad Table 3", "ttad Table 7"],
)

# %% tags=["remove-input"]
if scale != "paper":
    base, hard = f"p33_pixel {first}", f"p33_pixel {first}, severity 5"
    ledger.say(
        f"Maps, in the same order: unadapted {listed(base, 'PatchCore')}, by TTAD {listed(base, 'TTAD')}; at severity 5 unadapted {listed(hard, 'PatchCore')}, by TTAD "
        f"{listed(hard, 'TTAD')}. Under noise at severity 5 they stay upside down. A likely reason: cuts and holes are dark, half of the noise is clipped there, and what is left is the "
        "calmest spot of the picture."
    )

# %% [markdown]
# (Of Table 7, pixels by class, the version that was read has the caption alone.)
#
# ## Epoch by epoch
#
# AUROC before adapting and after every epoch, at the matched severities, mean over seeds; the dotted line is PatchCore on clean pictures, which is what there is to win back. An honest method should rise and then stay.

# %% tags=["hide-input"]
COLOR = {"TTT++": RED, "TTAC": PINK, "TTAD": BLUE}
MARK = {"TTT++": "s", "TTAC": "^", "TTAD": "o"}
curves = judged[
    judged["method"].isin(list(COLOR)) & (judged["condition"] != "clean")
]
curves = curves[~curves["failed"]]
clean = judged[(judged["condition"] == "clean") & (judged["method"] == "PatchCore")]
fig, axes = plt.subplots(
    2, 4, figsize=(9.5, 5.3), layout="constrained", sharex=True, sharey="row"
)
for k, (line, metric) in enumerate(zip(axes, ("image", "pixel"), strict=True)):
    for ax, kind in zip(line, KINDS, strict=True):
        for method, color in COLOR.items():
            of = (curves["method"] == method) & (curves["condition"] == kind)
            drawn = [[end[k] for end in c] for c in curves[of]["curve"]]
            if drawn:
                y = np.mean(drawn, axis=0)
                ax.plot(y, marker=MARK[method], color=color, label=method)
                ax.set_xticks(range(len(y)))
        ax.axhline(clean[metric].mean(), ls=":", color="0.4")
        ax.axhline(50, lw=0.6, color="0.8")
        if metric == "image":
            ax.set_title(kind, fontsize=10)
    line[0].set_ylabel(f"{metric} AUROC (%)", fontsize=9)
fig.supxlabel("epochs (0 = not adapted)", fontsize=10)
handles, labels = axes[0, 0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside upper center", ncols=3)
plotting.show(
    fig,
    alt="Image and pixel AUROC over three epochs in eight panels, by four corruptions, for TTT++, TTAC and TTAD, with a dotted line where clean pictures are.",
    shows=["ttad Table 1", "ttad Table 3"],
)

# %% [markdown]
# Last and best epoch. The difference is what a table gains by looking at the labels once more.

# %% tags=["hide-input"]
both = curves.copy()
both["best"] = [max(e[0] for e in c[1:]) for c in both["curve"]]
both["first"] = [c[1][0] for c in both["curve"]]
ends = both.groupby("method", sort=False)[["first", "image", "best"]].mean()
ends.columns = ["first epoch", "last epoch", "best epoch"]
ends["best less last"] = ends["best epoch"] - ends["last epoch"]
ledger.record("p33_epochs", ends.T.to_dict(), tolerance=0.01)
failures = table.groupby("method")["failed"].sum()
ledger.record("p33_failed", {m: int(n) for m, n in failures.items()})
plotting.table(
    ends.reset_index(),
    caption="Image AUROC (%), mean over four corruptions and the seeds",
    formats="{:.1f}",
)

# %% tags=["remove-input"]
if scale != "paper":
    ledger.say(
        "Picking TTAD's best epoch by the labels would add {p33_epochs[TTAD][best less last]:.1f} points, TTT++'s {p33_epochs[TTT++][best less last]:.1f}, TTAC's "
        "{p33_epochs[TTAC][best less last]:.1f}. Failed adaptations, at the rates chosen: TTT++ {p33_failed[TTT++]}, TTAC {p33_failed[TTAC]}, TTAD {p33_failed[TTAD]}. At the printed "
        "rate of 0.003: TTT++ {p33_failed[TTT++, rate 0.003]}, TTAC {p33_failed[TTAC, rate 0.003]}, each of "
        + str(int((table["method"] == "TTAC, rate 0.003").sum()))
        + "."
    )
    longer = pd.DataFrame(ledger.stored("34_ttad_ablation").value)
    longer = longer[(longer["class"] == first) & (longer["method"] == "discrete")]
    steps = {
        f"{metric}, after {n}": float(np.mean([c[at][m] - c[0][m] for c in longer["curve"]]))
        for m, metric in enumerate(("image", "pixel"))
        for n, at in ((9, 2), (30, 4))
    }  # fmt: skip
    ledger.record("p33_thirty_steps", steps, tolerance=0.02)
    ledger.say(
        "Some of these curves are still on their way up. Page [34](34_ttad_ablation) lets three methods take thirty steps at severity 5. There the discrete plan's gain over no adaptation, planted "
        "defects, mean of four corruptions, goes from {p33_thirty_steps[image, after 9]:+.1f} to {p33_thirty_steps[image, after 30]:+.1f} points for images and from "
        "{p33_thirty_steps[pixel, after 9]:+.1f} to {p33_thirty_steps[pixel, after 30]:+.1f} for pixels."
    )

# %% [markdown]
# ## Where something is lost
#
# A mean hides its losses. Here is the gain over not adapting for every class, severity, corruption and method, with the 95 % interval over seeds. Everything with a minus is a case where it
# would have been better to leave the network alone; nothing is left out.

# %% tags=["hide-input"]
shown = [m for m in (*RIVALS[1:], *AS_PRINTED) if m in set(table["method"])]
rows, gains = [], {}
for told, part in VIEWS.items():
    for metric in ("image", "pixel"):
        here = part[part["condition"] != "clean"].dropna(subset=[metric])
        keys = ["class", "condition", "seed"]
        grid_of = here.pivot_table(index=keys, columns="method", values=metric)
        for (name, kind), p in grid_of.groupby(level=keys[:2], sort=False):
            row = {"class": name + told, "AUROC of": metric, "corruption": kind}
            for m in [m for m in shown if m in p]:
                ends_of = ledger.t_interval((p[m] - p["PatchCore"]).tolist())
                gains[f"{name}{told}: {metric}, {kind}, {m}"] = list(ends_of)
                row[m] = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*ends_of)
            rows.append(row)
ledger.record("p33_gains", gains, tolerance=0.05)
deciding = {
    k: v for k, v in gains.items() if "severity 5" not in k and "flagged" not in k
}
lost = {m: [k.split(": ")[1].removesuffix(f", {m}") for k, v in deciding.items() if k.endswith(f", {m}") and v[0] < 0] for m in RIVALS[1:]}  # fmt: skip
ledger.record("p33_lost", {m: len(v) for m, v in lost.items()})
ledger.record("p33_cells", len(deciding) // len(shown))
ledger.record("p33_lost_by_ttad", lost["TTAD"])
plotting.table(
    pd.DataFrame(rows),
    caption="Gain over PatchCore in points, last epoch, 95 % interval",
)

# %% tags=["remove-input"]
ledger.say(
    "In the mean over seeds TTAD is below the unadapted memory in {p33_lost[TTAD]} of the {p33_cells} cells of the verdicts ("
    + ("; ".join(lost["TTAD"]) or "none")
    + "), TTT++ in {p33_lost[TTT++]}, TTAC in {p33_lost[TTAC]}."
)

# %% [markdown]
# ## Printed only
#
# **Table 2**, MVTec 3D-AD with noise on point clouds, needs a point-cloud network and belongs to the benchmark part. Here are its printed means, and whether they are means of the ten classes.

# %% tags=["hide-input"]
three = ledger.numbers(paper="ttad", table="Table 2").pivot_table(
    index="method", columns="category", values="number", sort=False
)
per = three.drop(columns="mean")
summary = pd.DataFrame(
    {
        "printed mean": three["mean"],
        "mean of the classes": per.mean(axis=1),
        "classes where it is best": (per == per.max()).sum(axis=1),
    }
)
ledger.record("p33_table2", summary.T.to_dict())
plotting.table(
    summary,
    caption="Table 2 as printed: AUROC (%), ten classes",
    formats="{:.2f}",
    shows=["ttad Table 2"],
)

# %% [markdown]
# **Table 6**, Real-IAD by class. The version that was read has the block of contrast alone, thirty classes and ten methods; the claim it comes with says that GNL is ahead "in a few classes".

# %% tags=["hide-input"]
six = ledger.numbers(paper="ttad", table="Table 6").pivot_table(
    index="method", columns="category", values="number", sort=False
)
per = six.drop(columns="mean")
summary = pd.DataFrame(
    {
        "printed mean": six["mean"],
        "mean of the classes": per.mean(axis=1),
        "best of all in": (per == per.max()).sum(axis=1),
        "ahead of TTAD in": (per > per.loc["ttad"]).sum(axis=1),
    }
)
ledger.record("p33_table6", summary.T.to_dict())
plotting.table(
    summary,
    caption="Table 6 as printed, contrast: AUROC (%), thirty classes",
    formats="{:.2f}",
    shows=["ttad Table 6"],
)

# %% tags=["remove-input"]
ledger.say(
    "GNL is ahead of TTAD in {p33_table6[gnl][ahead of TTAD in]:.0f} of the thirty, and TTAD is best of all ten methods in {p33_table6[ttad][best of all in]:.0f}."
)

# %% [markdown]
# ## Verdicts
#
# Planted defects at the matched severities, ten seeds; every inequality of a claim is judged by itself. A gap of less than one point of AUROC is called negligible: page 30 says why.
# With thirty pictures a cell is coarse: one exchanged pair of pictures is worth 0.4 points.

# %%
POINT = 1.0  # of AUROC, the smallest difference that matters: page 30


def by_seed(metric):
    """Rows (condition, seed), columns methods; classes are averaged within a seed."""
    return judged.pivot_table(
        index=["condition", "seed"], columns="method", values=metric, sort=False
    )


def ahead(frame, kinds):
    """One inequality a corruption and rival: its name to TTAD's lead, seed by seed."""
    return {
        f"{kind}: TTAD > {rival}": (frame.loc[kind]["TTAD"] - frame.loc[kind][rival]).tolist()
        for kind in kinds
        for rival in RIVALS[:3]
    }  # fmt: skip


image, pixel = by_seed("image"), by_seed("pixel")
singles = ("TTT++", "TTAC")


def beyond_half(methods):
    """Cells in which single Gaussians are worse, less half of all, a tie being half a case."""
    return sum(
        0.5 * np.sign(image.loc[kind]["PatchCore"] - image.loc[kind][m]).to_numpy()
        for kind in KINDS
        for m in methods
    )


short = {k: image.loc["clean"]["PatchCore"] - image.loc[k]["TTAD"] for k in ("defocus blur", "brightness")}  # fmt: skip

# %% tags=["hide-input"]
draws = "a seed draws the cells, the damage, the memory, the noise, the batches and the views"
reason = (
    "half of the printed steps between the transport rows of Table 4 are smaller"
)
levels = ", ".join(f"{k} {v}" for k, v in SEVERITY.items())
rates_are = "the printed learning rate"
if len(tried):
    rates_are = (
        f"each method at its own best learning rate, TTAD at {picked['TTAD']:g}"
    )
    rates_are += ", the largest tried" * (picked["TTAD"] == max(RATES["TTAD"]))
steps = "As many steps as the paper." if scale == "paper" else "Nine steps; the paper takes about 120."  # fmt: skip
where = f"{'; '.join(judged['class'].unique())}; severities {levels}; {rates_are}. {steps}"
n_cells = len(KINDS) * len(singles)
found = {
    m: image[m].drop("clean") - image["PatchCore"].drop("clean") for m in singles
}
ledger.record("p33_worse", (beyond_half(singles) + n_cells / 2).tolist())
told = f"Mean gain {found['TTT++'].mean():+.1f} points for TTT++ and {found['TTAC'].mean():+.1f} for TTAC."
if scale != "paper":
    as_printed = beyond_half(AS_PRINTED) + n_cells / 2
    ledger.record("p33_worse_as_printed", as_printed.tolist())
    told += f" It turns on the rate: at the printed 0.003, for both, {as_printed.mean():.1f} of {n_cells} cells a seed are worse (an adaptation that breaks down leaves the unadapted score, a tie)."
ledger.verdict(
    "ttad-04",
    {
        "more cells of TTT++ and TTAC worse than PatchCore than not": beyond_half(
            singles
        )
    },
    draws,
    f"cells of {n_cells} beyond half",
    f"{told} {where}",
    smallest_effect=1.0,
    effect_reason="one cell more or less than half is the least that 'most' can mean",
)
ledger.verdict(
    "ttad-05",
    ahead(image, list(KINDS)[:3]),
    draws,
    "points of image AUROC",
    where,
    smallest_effect=POINT,
    effect_reason=reason,
)
ledger.verdict(
    "ttad-07",
    {f"{k}: clean less TTAD": v.tolist() for k, v in short.items()},
    draws,
    "points of image AUROC",
    f"Clean is PatchCore's score on clean pictures. {where}",
    band=(-2.5, 2.5),
)
ledger.verdict(
    "ttad-08",
    ahead(pixel, KINDS),
    draws,
    "points of pixel AUROC",
    where,
    smallest_effect=POINT,
    effect_reason=reason,
)

# %% [markdown]
# The next two need data sets that are not here, one of them of point clouds, and methods that are not built here, UniAD and M3DM. What can be checked is whether the printed numbers say what the text says.

# %% tags=["hide-input"]
last = ledger.numbers(paper="ttad", table="Table 3", dataset="realiad")
last = last[~last["setting"].str.contains("clean")].pivot_table(
    index="method", columns="setting", values="number"
)
last.columns = [c.split("corruption=")[1].split(";")[0] for c in last.columns]
lead = {
    c: float(last.loc["ttad", c] - last[c].drop("ttad").max())
    for c in ("gaussian_noise", "defocus_blur", "contrast")
}
behind = float(last.loc["uniad", "brightness"] - last.loc["ttad", "brightness"])
ledger.record("p33_realiad_leads", lead)
margin = min(*lead.values(), behind)
ledger.from_published(
    "ttad-09",
    margin > 0,
    margin,
    f"From Table 3 alone: leads of {', '.join(f'{v:.2f} ({c})' for c, v in lead.items())} points over the next method, UniAD ahead by {behind:.2f} under brightness. "
    "The text calls the three leads significant; no spread is printed. A laptop cannot test it: it needs Real-IAD and UniAD.",
)
best_of_rest = float(three["mean"].drop("ttad").max())
margin = float(three.loc["ttad", "mean"]) - best_of_rest
ledger.from_published(
    "ttad-16",
    abs(margin - 1.5) < 0.25,
    margin,
    "From Table 2 alone: TTAD's mean less the next one, M3DM's; the text says PointMAE, which has no row. A laptop cannot test it: it needs MVTec 3D-AD and a point-cloud network.",
)

# %% [markdown]
# **ttad-20** has no verdict here. "One pass is enough" is about Real-IAD, the large set, where one pass is a long walk; ours is three steps, so that the same word, epoch, would mean another thing. What the
# two have in common is the number of steps, and the curves above show how much nine of them still move.

# %% tags=["remove-input"]
again = both[both["method"] == "TTAD"]
moved = (again["image"] - again["first"]).abs()
ledger.record("p33_moved", float(moved.mean()), tolerance=0.02)
ledger.say(
    "For the record: between TTAD's first epoch and its last, image AUROC moves by {p33_moved:.1f} points on average, up or down."
)

# %% [markdown]
# ## Paper against code
#
# The authors' code is not public. What the paper leaves open, and what we took: $\epsilon$ (0.05 of a batch's mean cost), the number of Sinkhorn iterations, $N_M$, whether batch norm normalises by the source's statistics or the batch's (the source's),
# and the scale of Equation 6 (a mean). What we changed to make a step cheap, and what it costs:
#
# | saving | what it changes |
# |---|---|
# | stages up to stride 4 are frozen, and computed once a view | a few of the scales and shifts stay put: counted below |
# | Sinkhorn stops at a marginal error of a thousandth | a few links of Equation 6 at most: table below |
# | the loss is differentiated by hand | nothing: the same gradient, without a matrix of patches by entries in the graph |
# | thirty pictures, nine steps | all of it is shorter and noisier than the paper |

# %% tags=["hide-input"]
points = ttad.patches(images[:10])
cost = distances(points, ttad.memory_)
rows = []
exact = hard_plan(sinkhorn(cost, 0.05 * float(cost.mean()), max_iter=pick(scale, smoke=50, laptop=500), tol=0).plan)  # fmt: skip
for tol in (1e-2, 1e-3, 1e-4):
    found = sinkhorn(cost, 0.05 * float(cost.mean()), max_iter=500, tol=tol)
    links = hard_plan(found.plan)
    rows.append(
        {
            "stops at": f"{tol:g}",
            "iterations": found.n_iter,
            "links that differ (%)": 100
            * float((links != exact).sum() / exact.sum()),
        }
    )
ledger.record("p33_tolerance", rows, tolerance=0.2)
plotting.table(
    pd.DataFrame(rows),
    caption="Equation 6 after few iterations, against many",
    formats={"links that differ (%)": "{:.2f}"},
)

# %% tags=["remove-input"]
sizes = {
    stride: sum(
        p.numel()
        for layer in stage.modules()
        if isinstance(layer, nn.BatchNorm2d)
        for p in layer.parameters()
    )
    for stride, stage in net.stages.items()
}
moving = sum(n for stride, n in sizes.items() if int(stride) > frozen)
ledger.record("p33_theta", {"all": sum(sizes.values()), "moving": moving})
if scale != "paper":
    ledger.say(
        "Of {p33_theta[all]:,} scales and shifts {p33_theta[moving]:,} still move: not many are lost, but they are those next to the pixels. On the held-out seeds the discrete plan ends at an image AUROC of "
        "{p33_rates[discrete 0.003][image]:.1f} with these stages frozen and {p33_rates[discrete, all stages 0.003][image]:.1f} with all moving, pixels "
        "{p33_rates[discrete 0.003][pixel]:.1f} and {p33_rates[discrete, all stages 0.003][pixel]:.1f}: eight cells, so take this with a grain of salt."
    )

# %% [markdown]
# ## What it costs
#
# One step of TTAD, ten pictures in three views each, by what is frozen; the time includes looking at the pictures for the first time.

# %% tags=["timing"]
rows = []
for stride in (0, 4, 8):
    one = replace(ttad, frozen=stride, epochs=1)
    start = time.perf_counter()
    one.adapt(images[:10])
    rows.append(
        {"frozen to stride": stride, "seconds": time.perf_counter() - start}
    )
ledger.record(
    "p33_frozen_saves",
    rows[0]["seconds"] / rows[1]["seconds"],
    timing=True,
    bounds=(0.2, 50),
)
plotting.table(
    pd.DataFrame(rows),
    caption=f"{side} x {side} pixels, {n_entries} entries",
    formats={"seconds": "{:.2f}"},
    timing=True,
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "What does adapting to today's light win back? On solar cells with planted defects, image and pixel AUROC under four corruptions make {p33_cells} cells: in the mean over seeds TTAD is below the detector that does not adapt in {p33_lost[TTAD]} of them, TTT++ in {p33_lost[TTT++]} and TTAC in {p33_lost[TTAC]}.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# Nothing has changed today, but nobody tells the method. Adapt to *clean* pictures, half of them defective. How much AUROC does that cost, and which way do the anomalous patches move?

# %% [markdown]
# ### Solution
#
# The memory was built from such pictures, so the normal patches have nowhere to go; the only patches with a way to go are the anomalous ones, and the loss pulls them home. What is left is a small loss of what the detector lived on.

# %% tags=["hide-input"]
unchanged = (
    judged[judged["condition"] == "clean"]
    .pivot_table(index="class", columns="method", values=["image", "pixel"])
    .round(6)
)
unchanged.columns = [f"{metric}, {m}" for metric, m in unchanged.columns]
ledger.record(
    "p33_clean",
    {c: row.dropna().to_dict() for c, row in unchanged.iterrows()},
    tolerance=0.01,
)
plotting.table(
    unchanged,
    caption="Clean pictures, before and after adapting to them (AUROC, %)",
    formats="{:.1f}",
)
