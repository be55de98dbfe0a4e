# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Benchmark: neighbours and Gaussians
#
# There are two ways to remember what is normal: keep all of it, or keep a mean and a covariance. Five methods are made of the two, and each breaks where its assumption does.
#
# *Benchmarking Unsupervised Anomaly Detection and Localization*, rows PaDiM, SPADE, PatchCore, PANDA and FYD of Tables 1 and 2. Nothing here learns to find defects; what is learnt, if anything, is where the normal features lie. The pictures are drawn: a transistor on its board, and leather. No printed value is reproduced.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn import scenes, textures
from otad.features.pretrained import efficientnet_lite0
from otad.methods import FYD, SPADE, PaDiM, PatchCore
from otad.methods.nearest import nearest
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import neighbourhoods as study
from otad.studies.made import places
from otad.studies.networks import Remembering, stages_of

BLUE, RED, GREEN = plotting.COLORS[:3]

# %% [markdown]
# ## Two features of one place
# **PaDiM** (Defard et al., 2021) supposes that pictures are aligned, so that a place of the picture shows the same thing each time. Of each place $p$ it keeps mean and covariance of the features, and measures a new picture by Mahalanobis' distance:
#
# $$ M(x_p) = \sqrt{(x_p - \mu_p)^\top \Sigma_p^{-1} (x_p - \mu_p)}, \qquad \Sigma_p = \frac{1}{N-1} \sum_n (x_{n,p} - \mu_p)(x_{n,p} - \mu_p)^\top + \epsilon I. $$
#
# Euclid's distance to $\mu_p$ treats all directions alike. A neighbour method asks for the distance to the *nearest* of the $N$ normal pictures instead and supposes no shape at all. To see all three, take the place that most defects cover, and its two channels that are correlated most over normal pictures.

# %%
side = pick(scale, smoke=64, laptop=96)
counts = pick(scale, smoke=(12, 6, 1), laptop=(48, 24, 5))
data = scenes.load("transistor", side, *counts, seed=seed)
net = efficientnet_lite0(stages=(8, 16, 32), device=device())
train, test = (
    [m.cpu() for m in stages_of(net, x)] for x in (data.train, data.test)
)
y, x = study.busiest(data.masks[data.labels], train[0].shape[-2:])
here, asked = train[0][:, :, y, x], test[0][:, :, y, x]
a, b = study.most_alike(here)
plane, queries = here[:, [a, b]].double(), asked[:, [a, b]].double()
cell = side // train[0].shape[-1]
covered = data.masks[:, cell * y : cell * (y + 1), cell * x : cell * (x + 1)]
hit = covered.float().mean((1, 2)) > 0.5
shown = ~data.labels | hit
three = study.distances(queries, plane)

# %% tags=["hide-input"]
mean, away = plane.mean(0), plane - plane.mean(0)
root = np.linalg.cholesky((away.T @ away / (len(plane) - 1)).numpy())
around = np.linspace(0, 2 * np.pi, 100)
circle = np.stack([np.cos(around), np.sin(around)])
radius = float(np.median(three["Euclid"][~data.labels]))
fig, ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")
ax.plot(*plane.T, "s", color="0.6", ms=5, label="training pictures")
ax.plot(*queries[~data.labels].T, "o", color=BLUE, ms=5, label="good test pictures")
ax.plot(*queries[hit].T, "^", color=RED, ms=8, label="a defect covers the place")
for r in (1, 2, 3):
    ax.plot(*(mean[:, None].numpy() + r * root @ circle), color=GREEN, lw=1, label="Mahalanobis 1, 2, 3" if r == 1 else None)  # fmt: skip
ax.plot(*(mean[:, None].numpy() + radius * circle), color="black", lw=1, ls="--", label="Euclid, median of good ones")  # fmt: skip
ax.set(xlabel=f"channel {a} at ({y}, {x})", ylabel=f"channel {b}", aspect="equal")
fig.legend(loc="outside right upper")
plotting.show(fig, alt=f"Two features of one place. {len(plane)} training pictures lie in a slanting cloud; ellipses of Mahalanobis' distance follow it, a circle of Euclid's does not. {int(hit.sum())} defects are drawn as triangles, many of them in the cloud.")  # fmt: skip

# %%
every = study.distances(asked[shown].double(), here.double(), ridge=0.1)
told = {
    "two channels": {k: v[shown] for k, v in three.items()},
    "all channels": every,
}
rows = {n: {k: 100 * image_auroc(v, data.labels[shown]) for k, v in d.items()} for n, d in told.items()}  # fmt: skip
plotting.table(pd.DataFrame(rows).T, caption="AUROC (%) of three distances at this place: defects that cover it against good pictures", formats="{:.0f}")  # fmt: skip
ledger.record("p25_place", rows, tolerance=0.1)
alike = float(np.corrcoef(plane.T.numpy())[0, 1])
ledger.record("p25_alike", alike, tolerance=0.05)
stretch = torch.tensor([[10.0, 3.0], [0.0, 0.2]], dtype=torch.float64)
stretched = study.distances(queries @ stretch, plane @ stretch)
gap = {k: float((stretched[k] / three[k] - 1).abs().max()) for k in ("Euclid", "Mahalanobis")}  # fmt: skip
ledger.record("p25_stretch", gap["Mahalanobis"], below=1e-6)
ledger.record("p25_stretch_euclid", gap["Euclid"], tolerance=0.05)

# %% tags=["remove-input"]
ledger.say("The two channels are correlated by {p25_alike:.2f}. On them Euclid's distance reaches {p25_place[two channels][Euclid]:.0f} %, Mahalanobis' {p25_place[two channels][Mahalanobis]:.0f} %, the nearest neighbour's {p25_place[two channels][nearest]:.0f} %; on all channels {p25_place[all channels][Euclid]:.0f}, {p25_place[all channels][Mahalanobis]:.0f} and {p25_place[all channels][nearest]:.0f} %. Mix and stretch the two channels by any invertible matrix: Mahalanobis' distances stay as they were, to rounding, Euclid's change by up to {p25_stretch_euclid:.0f} times their size.")  # fmt: skip

# %% [markdown]
# ## What the ridge does
# With $d = 100$ channels and fewer pictures than that, $\Sigma_p$ without $\epsilon$ has rank $N - 1$ at most: most directions have no variance at all, and Mahalanobis' distance would be infinite as soon as one of them is left. The ridge says how large a surprise in such a direction is. Where it is small, only directions in which nothing has moved count; where it is large,
#
# $$ \sqrt{\epsilon}\; M(x) \to \lVert x - \mu \rVert \quad (\epsilon \to \infty), $$
#
# and PaDiM is Euclid's distance. The paper's 0.01 was chosen for ResNets, whose channels vary less than those of the network used here. Look for the flat part.

# %%
look = Remembering(efficientnet_lite0(stages=(8, 16), device=device()))
normal, pictures = data.train.to(device()), data.test.to(device())
ridges = pick(scale, smoke=(1e-2, 1e2), laptop=(1e-4, 1e-2, 1.0, 1e2, 1e4))
padims = {
    e: PaDiM(look, epsilon=e, sigma=3.0, seed=seed).fit(normal) for e in ridges
}


def both(scored):
    """Image and pixel AUROC in percent."""
    top = 100 * image_auroc(scored.image_scores.cpu(), data.labels)
    return {"image": top, "pixel": 100 * pixel_auroc(scored.maps.cpu(), data.masks)}


sweep = pd.DataFrame({e: both(p.score(pictures)) for e, p in padims.items()})
try:
    PaDiM(look, epsilon=0.0).fit(normal)
    refused = "no ridge is accepted"
except ValueError as error:
    refused = str(error).partition(":")[0]

# %% tags=["hide-input"]
plotting.curves({"": {k: sweep.loc[[k]] for k in sweep.index}}, "ε", "AUROC (%)", log=True)  # fmt: skip
large = padims[max(ridges)].distances(pictures)
channels = padims[max(ridges)].channels_
maps = torch.cat([places(look(one)) for one in pictures.split(1)])[:, channels]
euclid = (maps.flatten(2).mT - padims[max(ridges)].mean_).norm(dim=2).view_as(large)
off = float((large * max(ridges) ** 0.5 / euclid - 1).abs().max())
ledger.record("p25_ridge", {f"{e:g}": v for e, v in sweep.loc["image"].items()}, tolerance=0.05)  # fmt: skip
ledger.record("p25_ridge_span", float(np.ptp(sweep.loc["image"])), tolerance=0.5)
ledger.record("p25_euclid_off", off, tolerance=0.2)

# %% tags=["remove-input"]
ledger.record("p25_refused", refused)
ledger.say("Without a ridge the method refuses: *{p25_refused}*. Over the range shown the image AUROC changes by {p25_ridge_span:.1f} points. At the largest ε, √ε times the distance is Euclid's up to {p25_euclid_off:.1%}.")  # fmt: skip

# %% [markdown]
# ## All of it: SPADE and PatchCore
# **SPADE** (Cohen and Hoshen, 2020) keeps every feature of every picture. The $K$ pictures whose pooled features are nearest are a query's neighbours; their mean squared distance is its score, and each place is compared with all places of these neighbours. **PatchCore** (Roth et al., 2022) keeps a tenth of all patches, chosen so that none is far from a chosen one, and has no first step. Neither asks *where* something is: both find a part that has moved only by its edges.
#
# How many neighbours? For pooled features of the last stage, a curve each for the transistor and for leather:

# %%
leather = textures.load("leather", side, *counts, seed=seed)
pooled = {"transistor": (train[2].mean((2, 3)), test[2].mean((2, 3)), data.labels)}
deep = [
    stages_of(net, x)[2].mean((2, 3)).cpu() for x in (leather.train, leather.test)
]
pooled["leather"] = (*deep, leather.labels)
ks = pick(scale, smoke=(1, 5, 12), laptop=(1, 2, 5, 10, 20, 48))
by_k = {
    name: study.by_neighbours(*three_of, ks) for name, three_of in pooled.items()
}

# %% tags=["hide-input"]
plotting.curves({"": {n: pd.DataFrame([v]) for n, v in by_k.items()}}, "k", "image AUROC (%)", log=True)  # fmt: skip
ledger.record("p25_k", {n: max(v.values()) - min(v.values()) for n, v in by_k.items()}, tolerance=0.5)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Between one neighbour and all of them lie {p25_k[transistor]:.1f} points for the transistor and {p25_k[leather]:.1f} for leather: with features this coarse k is not what decides. SPADE's 50 and PANDA's 2 are both defensible.")  # fmt: skip

# %% [markdown]
# Now the three methods whole, on the same pictures, with this page's small network and settings and not the printed ones. The examples are those that PaDiM's map ranks best and worst among the defective ones.

# %%
methods = {
    "PaDiM": partial(PaDiM, look, epsilon=0.1, sigma=3.0, seed=seed),
    "SPADE": partial(SPADE, look, k=min(20, counts[0]), sigma=3.0),
    "PatchCore": partial(PatchCore, look, sigma=3.0, seed=seed),
}
fitted, scored, spent = {}, {}, {}
for name, build in methods.items():
    started = time.perf_counter()
    fitted[name] = build().fit(normal)
    scored[name] = fitted[name].score(pictures)
    spent[name] = time.perf_counter() - started
measured = pd.DataFrame({name: both(s) for name, s in scored.items()}).T

# %%
d = fitted["PaDiM"].mean_.shape[1]
kept = {
    "PaDiM": len(fitted["PaDiM"].mean_) * (d + d * (d + 1) // 2),
    "SPADE": sum(
        m.numel() for m in [fitted["SPADE"].whole_, *fitted["SPADE"].maps_]
    ),
    "PatchCore": fitted["PatchCore"].memory_.numel(),
}
measured["numbers kept, thousands"] = pd.Series(kept) / 1000
of = {"image": ("Table 1", "image_auroc"), "pixel": ("Table 2", "pixel_auroc")}
for at, (column, (table, metric)) in enumerate(of.items()):
    print_of = ledger.printed("benchmark", table, "mvtec_ad", metric)["mean"]
    in_print = [print_of[name.lower()] for name in measured.index]
    measured.insert(2 * at, f"{column}, printed", in_print)

# %% tags=["hide-input"]
plotting.table(measured, caption="AUROC (%): printed means over MVTec AD (other data), and here on the transistor; and what each keeps", formats="{:.1f}")  # fmt: skip
ledger.record("p25_three", measured[["image", "pixel"]].T.to_dict(), tolerance=0.05)
ledger.record("p25_kept", kept)
bad = data.labels.nonzero()[:, 0]
each = [100 * pixel_auroc(scored["PaDiM"].maps[i : i + 1].cpu(), data.masks[i : i + 1]) for i in bad]  # fmt: skip
chosen = [int(bad[i]) for i in plotting.best_and_worst(each)]
plotting.show_maps(data.test[chosen], data.masks[chosen], {n: s.maps[chosen].cpu() for n, s in scored.items()}, [data.kinds[i].replace("_", " ") for i in chosen])  # fmt: skip

# %% tags=["remove-input"]
ledger.say("On pictures that are aligned, PaDiM is ahead with {p25_three[PaDiM][image]:.0f} % against SPADE's {p25_three[SPADE][image]:.0f} and PatchCore's {p25_three[PatchCore][image]:.0f} %. It pays with {p25_kept[PaDiM]:,} numbers, SPADE with {p25_kept[SPADE]:,}, PatchCore with {p25_kept[PatchCore]:,}.")  # fmt: skip

# %% [markdown]
# ## PANDA: features drawn together, too far
# If normal features lay closer together, would not everything else stand out more? **PANDA** (Reiss et al., 2021) tunes the last stages of the network until they do:
#
# $$ \min_\theta \frac1N \sum_n \frac{\lVert f_\theta(x_n) - c\rVert^2}{d}, \qquad c = \frac1N \sum_n f_{\theta_0}(x_n) \text{ fixed}. $$
#
# The best of all solutions is $f_\theta \equiv c$, for defects too: *collapse*. PANDA has two answers, to stop after 15 epochs, or to hold the weights where they were. Its code also clips every gradient to a norm of $10^{-3}$. So three runs from one start, as far as a page can go: as in the code, without the clip, and without it at five times the rate. Only the last stage learns, so the stage before looks at each picture once.

# %%
runs = {
    "as the code, clipped": {"lr": 1e-2, "clip": 1e-3, "epochs": pick(scale, smoke=2, laptop=15)},
    "not clipped": {"lr": 1e-2, "epochs": pick(scale, smoke=3, laptop=16)},
    "not clipped, rate × 5": {"lr": 5e-2, "epochs": pick(scale, smoke=3, laptop=16)},
}  # fmt: skip
cpu = efficientnet_lite0(stages=(8, 16, 32))
panda, loss_of = {}, {}
started = time.perf_counter()
for name, how in runs.items():
    epochs = enumerate(study.tuned(cpu, train[1], seed=seed, **how))
    for epoch, (loss, stage) in epochs:
        loss_of[name, epoch] = loss
        if epoch in (0, 1, 2, 3, 5, 8, 12) or epoch == how["epochs"]:
            row = study.judged(stage, train[1], test[1], data.labels)
            panda[name, epoch] = row | {
                "contrast": row["bad"] / max(row["good"], 1e-12)
            }
spent["PANDA, an epoch"] = (time.perf_counter() - started) / len(loss_of)

# %% tags=["hide-input"]
panda = pd.DataFrame(panda).T
panda["spread"] = panda["good"] / panda["good"].iloc[0]
lines = {c: {n: panda.loc[n][[c]].T for n in runs} for c in ("AUROC", "spread")}
plotting.curves({"image AUROC (%)": lines["AUROC"]}, "epoch", "%", levels={"chance": 50.0})  # fmt: skip
plotting.curves({"squared distance of good pictures to neighbours, start = 1": lines["spread"]}, "epoch", "share", log_y=True)  # fmt: skip
ends = {n: {"first": panda.loc[n]["AUROC"].iloc[0], "last": panda.loc[n]["AUROC"].iloc[-1], "best": panda.loc[n]["AUROC"].max(), "lowest": panda.loc[n]["AUROC"].min()} for n in runs}  # fmt: skip
ledger.record("p25_panda", ends, tolerance=0.5)
shrunk = {n: float(panda.loc[n]["spread"].iloc[-1]) for n in runs}
ledger.record("p25_moved", 1 - shrunk["as the code, clipped"], tolerance=0.3)
ledger.record("p25_factor", -float(np.log10(max(shrunk["not clipped"], 1e-12))), tolerance=0.6)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("With the clip, all epochs of the code's early stopping bring good pictures {p25_moved:.1%} nearer to each other, in squares, and AUROC from {p25_panda[as the code, clipped][first]:.1f} to {p25_panda[as the code, clipped][last]:.1f} %: at this size nothing happens that would need to be stopped. Without it squared distances shrink by {p25_factor:.1f} powers of ten and AUROC moves between {p25_panda[not clipped][lowest]:.1f} and {p25_panda[not clipped][best]:.1f} %, to end at {p25_panda[not clipped][last]:.1f} %: ranks do not mind a common factor, so more than that is changing. At five times the rate it is {p25_panda[not clipped, rate × 5][last]:.1f} %: there the collapse is real, and a good loss is the sign of it. Whoever prints the best epoch instead of the last would print {p25_panda[not clipped, rate × 5][best]:.1f} %.")  # fmt: skip

# %% [markdown]
# ## FYD: where pose varies
# PaDiM needs aligned pictures. **FYD** (Zheng et al., 2022) aligns them first: a small network turns and shifts each picture, a second one its features, towards the mean of the batch (coarse), and a siamese head pulls the features of different normal pictures together at every place (fine). Then come the same Gaussians, and the map is moved back. There is no public code; ours is a reconstruction, here on a frozen network.
#
# So let the transistor be put down ever less exactly. Only structural defects count: nobody should mind the pose. PatchCore is the rival that needs no alignment.

# %%
wander = pick(scale, smoke=(1.0,), laptop=(0.0, 1.0, 2.0))
few = dict(zip(("train", "good", "each"), pick(scale, smoke=(8, 4, 1), laptop=(48, 24, 6)), strict=True))  # fmt: skip
fine = efficientnet_lite0(stages=(4, 8), device=device())
learning = {"epochs": pick(scale, smoke=1, laptop=5), "lr": 1e-3, "batch_size": min(16, few["train"])}  # fmt: skip
shared = {"dimension": 64, "epsilon": 0.1, "sigma": 2.0, "seed": seed}
pose, fyd_loss = {}, {}
for w in wander:
    scene = study.wandering("transistor", 64, few, w, seed)
    view = Remembering(fine)
    rivals = {
        "PaDiM": PaDiM(view, **shared),
        "FYD": FYD(fine, frozen=True, **learning, **shared),
        "PatchCore": PatchCore(view, sigma=2.0, seed=seed),
    }
    for name, method in rivals.items():
        started = time.perf_counter()
        tops = method.fit(scene.train.to(device())).score(scene.test.to(device()))
        spent[name if name == "FYD" else f"{name}, 64 px"] = (
            time.perf_counter() - started
        )
        pose[name, w] = 100 * image_auroc(tops.image_scores.cpu(), scene.labels)
    fyd_loss[w] = rivals["FYD"].losses_

# %% tags=["hide-input"]
pose = pd.Series(pose).unstack()
if len(wander) > 1:
    plotting.curves({"": {n: pose.loc[[n]] for n in ("PaDiM", "FYD", "PatchCore")}}, "how far it is put down aside (1 = as usual)", "image AUROC (%)")  # fmt: skip
drop = {n: float(pose.loc[n].iloc[0] - pose.loc[n].iloc[-1]) for n in pose.index}
gain = float((pose.loc["FYD"] - pose.loc["PaDiM"]).iloc[-1])
ledger.record("p25_pose", {n: list(pose.loc[n]) for n in pose.index}, tolerance=0.5)
ledger.record("p25_drop", drop, tolerance=0.9)
ledger.record("p25_end", {n: float(pose.loc[n].iloc[-1]) for n in pose.index}, tolerance=0.5)  # fmt: skip
ledger.record("p25_gain", gain, tolerance=0.9)
ledger.record("p25_fyd_loss", [fyd_loss[wander[-1]][0], fyd_loss[wander[-1]][-1]], tolerance=0.9)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("From the most to the least exact placing shown PaDiM loses {p25_drop[PaDiM]:.0f} points, PatchCore {p25_drop[PatchCore]:.0f}, FYD {p25_drop[FYD]:.0f}; they end at {p25_end[PaDiM]:.0f}, {p25_end[PatchCore]:.0f} and {p25_end[FYD]:.0f} %. Where pose varies most, alignment is worth {p25_gain:+.1f} points beside PaDiM after this short training, while its loss is still falling ({p25_fyd_loss[0]:+.2f} to {p25_fyd_loss[1]:+.2f}). One draw: a direction, not a verdict.")  # fmt: skip

# %% [markdown]
# ## Paper against code
# | | the paper | public code | the book |
# |---|---|---|---|
# | PaDiM | $\Sigma + 0.01\,I$, channels drawn at random | anomalib: $10^{-5} I$ more, and channels drawn without a seed | as the paper, with a seed |
# | SPADE | nearest place of the gallery | a reader's code (there is none by the authors): gallery walked in blocks of 100, the last incomplete one forgotten | all of it |
# | PatchCore | mean of a neighbourhood; Eq. 7 reweights | anomalib counts zeros beyond the border; Eq. 7 is absent in the authors' code | the mean of what exists; Eq. 7 by an argument |
# | PANDA | stop after a fixed number of epochs | looks at the test set after every epoch | the last epoch counts |
# | FYD | | none | a reconstruction |
#
# Two of these can be computed at once. What does the forgotten remainder do to a map, if a single neighbour is the gallery? And what do zeros do to a constant map in its corner?

# %%
gallery = train[0][0].flatten(1).T
whole = len(gallery) - len(gallery) % pick(scale, smoke=25, laptop=100)
queries = test[0][0].flatten(1).T
full, part = (nearest(queries, g)[0][:, 0] for g in (gallery, gallery[:whole]))
ledger.record("p25_forgotten", {"share": 1 - whole / len(gallery), "changed": float((part > full).float().mean()), "worst": float((part / full).max())}, tolerance=0.05)  # fmt: skip
ones = torch.ones(1, 1, 5, 5)
corner = [float(F.avg_pool2d(ones, 3, 1, 1, count_include_pad=c)[0, 0, 0, 0]) for c in (True, False)]  # fmt: skip
ledger.record("p25_corner", corner)

# %% tags=["remove-input"]
ledger.say("Of this gallery {p25_forgotten[share]:.0%} is forgotten; {p25_forgotten[changed]:.0%} of the distances grow, one of them {p25_forgotten[worst]:.1f} times. With the fifty neighbours of the paper the share is far smaller. A constant map of ones has {p25_corner[0]:.2f} in its corner where zeros count, and {p25_corner[1]:.2f} where they do not.")  # fmt: skip

# %% [markdown]
# ## What it costs
# With features at hand PaDiM's part is a Cholesky factor a place; SPADE's and PatchCore's is a search. Only PANDA and FYD train.

# %% tags=["hide-input"]
ledger.record("p25_costs", spent, timing=True, bounds=(0, 1000))
plotting.table(pd.DataFrame({"s": spent}), caption="Fit and score on this machine, the network's first look included where it had not looked before", formats="{:.2f}", timing=True)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("What does a detector need to remember? On a drawn transistor a Gaussian a place remembers best, {p25_three[PaDiM][image]:.0f} % image AUROC against {p25_three[PatchCore][image]:.0f} % for PatchCore's patches; in another test it loses most to careless placing, {p25_drop[PaDiM]:.0f} points, and still has {p25_end[PaDiM]:.0f} against {p25_end[PatchCore]:.0f} % there. (One draw of the pictures.) PANDA's collapse, without its clip and at five times its rate, ends at {p25_panda[not clipped, rate × 5][last]:.0f} %.", short=True)  # fmt: skip

# %% [markdown]
# - Mahalanobis' distance knows which directions normal pictures use. With fewer pictures than channels the ridge decides what all others are worth.
# - The number of neighbours hardly matters; which features they are neighbours in does.
# - A loss that can be minimised by telling nothing will be, if one lets it. An early stop is a hyperparameter chosen without seeing a defect, or it is the test set.
# - Alignment is an assumption one can buy back, at the price of a training.
#
# ## Exercise
# Two channels have variance 1 and correlation 0.8. How far are the points $(1, 1)$ and $(1, -1)$ from the mean 0 by Mahalanobis, squared? And with a ridge of $\epsilon = 1$? Which of them would Euclid call more unusual?

# %% [markdown]
# ### Solution
# Both points are eigenvectors, with eigenvalues 1.8 and 0.2, and Euclid's distance squared is 2 for both. So $2/1.8 = 1.11$ and $2/0.2 = 10$; with the ridge $2/2.8 = 0.71$ and $2/1.2 = 1.67$. Euclid cannot tell them apart, and the ridge makes Mahalanobis nearly as blind.

# %% tags=["hide-input"]
cov = np.array([[1, 0.8], [0.8, 1]])
ends = np.array([[1.0, 1], [1, -1]])
by_hand = [float(p @ np.linalg.inv(cov + e * np.eye(2)) @ p) for e in (0, 1) for p in ends]  # fmt: skip
ledger.record("p25_exercise", by_hand)

# %% tags=["remove-input"]
ledger.say("Computed: {p25_exercise[0]:.2f} and {p25_exercise[1]:.2f}; with the ridge {p25_exercise[2]:.2f} and {p25_exercise[3]:.2f}.")  # fmt: skip
