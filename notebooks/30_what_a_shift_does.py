# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TTAD: what a shift does
#
# Turn up the light, and a detector that was nearly perfect yesterday guesses today. After this page you know which part of it breaks: not the anomalies, but everything else.
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 1, 3.2, 4.1 and 4.2, Table 1, Figures 3, 6 and 7. Five claims are tested. **ttad-01**: under strong noise a
# memory of clean patches loses more than 20 points of image AUROC. **ttad-02**: every detector is worse on corrupted pictures. **ttad-03**: contrast is the hardest of the four corruptions for all methods. **ttad-17**: a shift moves
# *normal* patches away from the memory too, and so shrinks their distance to the anomalous ones. **ttad-18**: one Gaussian underfits patch features. The data are others than the paper's, so this tests the claims and reproduces no printed
# value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names

# %% tags=["hide-input"]
import time
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import FixedLocator, NullLocator
from scipy import stats
from sklearn.mixture import GaussianMixture
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn import scenes, textures
from otad.data.drawn.corruptions import KINDS, SEVERITIES, corrupt
from otad.data.packaged import photographs, solar
from otad.data.readers.locations import use_location
from otad.methods.memory.ttad import TTAD, gaussian
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies.arenas import categories, on_disk
from otad.studies.shifted import FIRST, FLAGGED, MATCHED, NOTHING, REAL, SHIFTED
from otad.studies.shifted import solar_cells
from otad.studies.ttad_results import network
from otad.studies.unadapted import METHODS, Detectors, conditions, features

if scale == "paper":
    use_location(data_folder, "mvtec_ad")  # says what is missing
BLUE, RED = plotting.COLORS[:2]

# %% [markdown]
# ## Four corruptions
#
# The paper takes four corruptions of ImageNet-C at the highest severity, 5. **Gaussian noise** adds independent noise of standard deviation 0.38 to values between 0 and 1. **Defocus blur** averages over a disk of radius 10 pixels.
# **Brightness** adds 0.5 to the value $V$ of HSV. **Contrast** draws all values towards the mean until 5 % of the contrast is left. Everything is clipped to $[0, 1]$. Look for what you could still inspect yourself.

# %%
side = pick(scale, smoke=64, laptop=128, paper=224)
shown = {
    "solar, mono": solar.load("mono", side, 1, 1, 1, seed=seed).test[1],
    "solar, poly": solar.load("poly", side, 1, 1, 1, seed=seed).test[1],
    "carpet": textures.render("carpet", side, [seed]),
    "gravel": photographs.load("gravel", side, 1, 1, 0, seed=seed).test[0],
    "transistor": scenes.render("transistor", side, seed)[0],
}
shown = dict(list(shown.items())[: pick(scale, smoke=2, laptop=5)])
clean = torch.stack(list(shown.values()))
tiles = torch.stack([clean] + [corrupt(clean, kind, 5, seed) for kind in KINDS], 1)

# %% tags=["hide-input"]
names = ["clean", *KINDS] + [""] * 5 * (len(shown) - 1)
drawn = plotting.gallery(tiles.flatten(0, 1), titles=names)
plotting.show(drawn, "Rows of pictures (solar cells, carpet, gravel, a drawn transistor), clean and under Gaussian noise, defocus blur, brightness and contrast at severity 5. Noise hides all but the large structures, blur leaves soft spots, brightness washes out to white, contrast leaves a nearly flat grey.", ["ttad Figure 3", "ttad Figure 6", "ttad Figure 7"])  # fmt: skip
ledger.say(solar.NOTICE)

# %% [markdown]
# MVTec AD and Real-IAD, the paper's two data sets, may not be shown here; at `scale="paper"` the same cells run on your own copy. Severity is a ladder, and 5 is its top:

# %%
ladder = [corrupt(clean[:1], k, s, seed) for k in KINDS for s in SEVERITIES]
names = [f"{kind.split()[-1]} {s}" for kind in KINDS for s in SEVERITIES]
alt = "One solar cell under four corruptions in five severities, hardly visible to destroyed."
plotting.show(plotting.gallery(torch.cat(ladder), titles=names), alt)

# %% [markdown]
# **A byte is not a float.** ImageNet-C stores its pictures with 8 bits, ours stay floats. At contrast 5 a picture keeps 5 % of its range, so bytes leave it a dozen grey levels. What is rounded away is gone for any method. We keep the two
# apart and ask below what the byte costs.
#
# ## An arena where there is something to lose
#
# A loss can only be measured on a class that is detected to begin with. The rule for this part of the book, fixed beforehand: *image AUROC of a clean PatchCore at least 0.9, and at least 0.1 lost under at least two corruptions*. Candidates
# are tried on seeds 0 and 1, which no verdict uses. The detector is the paper's: features of a pretrained network, a greedy coreset as memory (Eq. 1), and the score $s = \max_p \min_{m \in \mathcal M} \lVert z_p - m\rVert_2$ (Eq. 2).

# %%
n_train = pick(scale, smoke=8, laptop=100, paper=300)
n_entries = pick(scale, smoke=60, laptop=500, paper=2090)
n_good, n_each = pick(scale, smoke=(6, 2), laptop=(10, 4))
CANDIDATES = {
    name: lambda s, name=name: solar_cells(name, side, n_train, n_good, n_each, s)
    for name in (FIRST, *REAL)
}
if scale == "smoke":
    CANDIDATES = dict(list(CANDIDATES.items())[:2])
if scale == "paper":
    CANDIDATES = {
        name: lambda s, name=name: on_disk("mvtec_ad", name, side)
        for name in categories("mvtec_ad")
    }
net = network(scale)

# %% [markdown]
# Three detectors share one pass of the network, so that "every detector" means more than one: PatchCore on strides 8 and 16, PatchCore on stride 16 only, and a single **Gaussian** fitted to all clean patches, scored by the Mahalanobis
# distance. (They are `otad.studies.unadapted.Detectors`.)


# %%
rows = []
for name, load in CANDIDATES.items():
    for s in range(pick(scale, smoke=1, laptop=2)):
        data = load(s)
        detect = Detectors(net, n_entries, s, alone=True).fit(data.train)
        for condition, images in conditions(data.test, s):
            score = detect(images)["PatchCore"].amax(1)
            auroc = image_auroc(score, data.labels)
            rows.append({"class": name, "condition": condition, "AUROC": auroc})
trial = pd.DataFrame(rows).pivot_table(
    index="class", columns="condition", values="AUROC", sort=False
)
lost = trial["clean"].to_numpy()[:, None] - trial[list(KINDS)]
passes = (trial["clean"] >= 0.9) & ((lost >= 0.1).sum(axis=1) >= 2)
ARENA = [name for name in CANDIDATES if passes[name]] or list(CANDIDATES)[:1]
if scale == "laptop" and tuple(ARENA) != SHIFTED:  # what the studies take
    raise AssertionError(f"the rule lets in {ARENA}, the studies have {SHIFTED}")

# %% tags=["hide-input"]
ledger.record("p30_trial", trial.T.to_dict(), tolerance=5e-3)
ledger.record("p30_arena", ARENA)
said = "Image AUROC (%) of PatchCore on held-out seeds, and whether the class may enter"
shown = (100 * trial).assign(passes=np.where(passes, "yes", "no"))
plotting.table(shown.rename_axis(None), said, formats="{:.1f}")
ledger.say("Into the arena: " + "; ".join(ARENA) + ".")

# %% [markdown]
# ## Which class decides, how hard, and what counts as nothing
#
# Three rules for all verdicts on TTAD, pages 30 to 36, made with what is above and with the paper's printed numbers only.
#
# **The planted defects decide.** Most defective cells of *mono, real, all designs* come from modules with thick busbars (page 03), so that a part of what is detected there is a design and not a crack: a confounded class. It passed the rule
# and is shown beside, flagged; it decides nothing. Table 1 of the paper averages over classes; here one class is left to average over. A claim that names corruptions, or says *every* or *all*, is an inequality for each; where a claim
# speaks of a shift in general, the four corruptions are averaged within a seed.
#
# **Severity 5, as in print, except on pages 33 and 34.** At severity 5 our cells lose far more than the paper's classes do, and from near chance there is little to rescue. So what adapting brings back is judged there at the severity, from
# 1 to 5, where an unadapted PatchCore loses about what is printed: the one with the smallest sum of two gaps, between our loss of image AUROC and that of Table 1 (MVTec AD), and between our loss of pixel AUROC and that of Table 3. Held-out
# seeds again, and thirty pictures, as on those pages.

# %%
METRICS = {"image": "Table 1", "pixel": "Table 3"}
n_more, n_kind = pick(scale, smoke=(6, 2), laptop=(15, 5))
rows = []
for s in range(pick(scale, smoke=1, laptop=4)):
    data = solar_cells(FIRST, side, n_train, n_more, n_kind, s)
    detector = TTAD(net, n_memory=n_entries, seed=s).fit(data.train.to(device()))
    for kind, severity in [("clean", 0), *product(KINDS, SEVERITIES)]:
        images = (
            corrupt(data.test, kind, severity, seed=s) if severity else data.test
        )
        found = detector.score(images.to(device()))
        row = {"condition": kind, "severity": severity}
        row["image"] = 100 * image_auroc(found.image_scores, data.labels)
        row["pixel"] = 100 * pixel_auroc(found.maps, data.masks)
        rows.append(row)
unadapted = pd.DataFrame(rows).groupby(["condition", "severity"], sort=False).mean()
losses = unadapted.loc["clean", 0] - unadapted.drop(index="clean")


# %%
of = {"paper": "ttad", "dataset": "mvtec_ad", "method": "patchcore"}
printed = pd.DataFrame(
    {
        m: ledger.by_setting("corruption", table=number, **of).loc["patchcore"]
        for m, number in METRICS.items()
    }
)
kinds = losses.index.get_level_values(0)
gone, gaps = (printed.loc["clean"] - printed).loc[kinds], losses.copy()
gaps["sum of gaps"] = np.abs(losses.to_numpy() - gone.to_numpy()).sum(1)
for m in METRICS:
    gaps[f"{m}, printed"] = gone[m].to_numpy()
gaps = gaps.rename(columns={m: f"{m}, lost" for m in METRICS})
gaps = gaps.rename_axis(["corruption", "severity"])
gaps = gaps.reset_index()
closest = gaps.loc[gaps.groupby("corruption", sort=False)["sum of gaps"].idxmin()]
chosen = dict(zip(closest["corruption"], closest["severity"].tolist(), strict=True))
if scale == "laptop" and chosen != MATCHED:  # what pages 33 and 34 take
    raise AssertionError(f"the rule chooses {chosen}, the studies have {MATCHED}")
gaps["matched"] = np.where(gaps.index.isin(closest.index), "yes", "")
said = (
    "Points of AUROC lost by severity, held-out seeds, beside the printed loss at 5"
)
plotting.table(gaps, said, formats="{:.1f}")

# %% tags=["remove-input"]
ledger.record("p30_severities", chosen)
# No training, and yet processors differ: a coreset is chosen by distances that nearly tie, and of 450 pairs of pictures about seven changed places.
kept = closest.set_index("corruption").drop(columns="sum of gaps")
ledger.record("p30_losses", kept.T.to_dict(), tolerance=0.2)
ledger.say("Matched: noise {p30_severities[gaussian noise]}, blur {p30_severities[defocus blur]}, brightness {p30_severities[brightness]}, contrast {p30_severities[contrast]}. Noise remains too hard: even the mildest costs {p30_losses[gaussian noise][image, lost]:.0f} points of image AUROC, where {p30_losses[gaussian noise][image, printed]:.0f} are printed. Pages 33 and 34 are judged at these severities and show 5 beside.")  # fmt: skip

# %% [markdown]
# **Less than one point of AUROC is nothing.** A verdict is called *negligible* if all its gaps lie within one point. The reason is in print:

# %% tags=["remove-input"]
four = [ledger.by_setting("corruption", paper="ttad", table="Table 4", metric=f"{m}_auroc") for m in METRICS]  # fmt: skip
steps = np.concatenate([own.loc["ot_hungarian":"ttad"].diff().iloc[1:].abs().to_numpy().ravel() for own in four])  # fmt: skip
ledger.record(
    "p30_small_steps", {"below": int((steps < 1).sum()), "of": len(steps)}
)
ledger.say("of the {p30_small_steps[of]} steps between neighbouring transport rows of Table 4, on which the paper builds its method, {p30_small_steps[below]} are smaller.")  # fmt: skip

# %% [markdown]
# ## What is lost
#
# The verdict seeds: new cells, new damage, new memory, new noise. The first row of the table is the paper's, for MVTec AD.

# %%
n_seeds, n_beside = pick(scale, smoke=(2, 2), laptop=(10, 5), paper=(5, 5))
cells = [(c, s) for c in ARENA for s in range(seed, seed + (n_beside if c in FLAGGED else n_seeds))]  # fmt: skip
rows, distances, normal_patches = [], [], {}
for name, s in cells:
    data = CANDIDATES[name](s)
    detect = Detectors(net, n_entries, s).fit(data.train)
    seen = dict(conditions(data.test, s))
    seen["contrast, bytes"] = corrupt(data.test, "contrast", 5, levels=256)
    for condition, images in seen.items():
        key, found = (
            {"class": name, "seed": s, "condition": condition},
            detect(images),
        )
        for method, d in found.items():
            auroc = 100 * image_auroc(d.amax(1), data.labels)
            rows.append(key | {"method": method, "AUROC": auroc})
        if data.masks is not None and condition in ("clean", *KINDS):
            marked = F.avg_pool2d(data.masks[:, None].float(), 8).flatten(1)
            distances.append(key | {"d": found["PatchCore"], "m": marked})
    if name == ARENA[0]:  # clean patches, fitted and held out, for later
        held = features(net, data.test[~data.labels])[0]
        normal_patches[s] = detect.clean.cpu(), held.cpu()

# %%
ORDER, scores = ["clean", *KINDS], pd.DataFrame(rows)
keys = {"index": ["class", "seed", "method"], "columns": "condition"}
wide = scores.pivot_table(**keys, values="AUROC", sort=False)
grid = wide.groupby(["class", "method"], sort=False)[ORDER].mean()
said = f"Image AUROC (%), severity 5: MVTec AD in print, here mean over {n_seeds} seeds"
old = printed[["image"]].T.rename(index={"image": "PatchCore"})[ORDER]
plotting.beside(old, grid.loc[ARENA[0]], caption=said, shows=["ttad Table 1"])
rest = grid.drop(index=ARENA[0]).reset_index()
folded = f"The flagged class, {n_beside} seeds"
plotting.table(rest, formats="{:.1f}", folded=folded if len(rest) else "")

# %% tags=["remove-input"]
ledger.record("p30_table", {f"{c}: {m}": row.to_dict() for (c, m), row in grid.iterrows()}, tolerance=5e-3)  # fmt: skip
byte = wide.xs("PatchCore", level="method").drop(
    index=list(FLAGGED), errors="ignore"
)
byte = byte["contrast, bytes"] - byte["contrast"]
ledger.record("p30_byte", list(ledger.t_interval(byte.tolist())), tolerance=0.05)
ledger.say("And the byte? Contrast stored with 8 bits changes PatchCore's AUROC by {p30_byte[0]:+.1f} points [{p30_byte[1]:+.1f}, {p30_byte[2]:+.1f}] over floats, where there is not much left to change.")  # fmt: skip

# %% [markdown]
# ## Where it goes
#
# The score of a picture is a distance, and a distance has two ends. Below are the distances of all patches to their nearest memory entry, normal and anomalous ones apart, clean and shifted. The story that one expects is that the anomalies
# come closer. Look at the blue curves instead.

# %%
patches = {c: {"normal": [], "anomalous": []} for c in ORDER}
for row in distances:
    of = {
        "normal": row["d"][row["m"] == 0],
        "anomalous": row["d"][row["m"] >= 0.25],
    }
    for part, d in of.items():  # what lies between is a rim
        patches[row["condition"]][part].append(d)
        row[part] = float(d.mean())
    both, bad = (
        torch.cat(list(of.values())),
        torch.zeros(sum(map(len, of.values()))),
    )
    bad[len(of["normal"]) :] = 1
    row["AUROC"] = pixel_auroc(both[None, None], bad[None, None])
moved = pd.DataFrame(distances).drop(columns=["d", "m"])

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 5, figsize=(plotting.WIDTH, 2.6), layout="constrained", sharex=True)  # fmt: skip
top = max(
    float(torch.cat(v["anomalous"]).quantile(0.995)) for v in patches.values()
)
for ax, condition in zip(axes, ORDER, strict=True):
    for part, color in (("normal", BLUE), ("anomalous", RED)):
        d = torch.cat(patches[condition][part]).numpy()
        ax.hist(d, np.linspace(0, top, 50), density=True, histtype="stepfilled", alpha=0.55, color=color, label=part)  # fmt: skip
    ax.set(yticks=[], title=condition)
    ax.spines["left"].set_visible(False)
fig.supxlabel("distance of a patch to the memory", fontsize=10)
fig.legend(
    *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2
)
plotting.show(fig, "Histograms of nearest-memory distances of normal and anomalous patches in five panels. Clean: normal patches near, anomalous ones far, well apart. Under each corruption the normal patches move right, to where the anomalous ones are, and the two overlap.")  # fmt: skip

# %%
per = moved.groupby("condition", sort=False)[
    ["normal", "anomalous", "AUROC"]
].mean()
for part in ("normal", "anomalous"):
    per[f"{part}, times clean"] = per[part] / per.loc["clean", part]
ledger.record("p30_distances", per.T.to_dict(), tolerance=0.01)
shown = per.rename(columns={"AUROC": "AUROC of patches"}).rename_axis(None)
plotting.table(
    shown, "Mean distance to the memory, planted defects", formats="{:.2f}"
)

# %% tags=["remove-input"]
ledger.say("Under noise a *normal* patch is {p30_distances[gaussian noise][normal, times clean]:.1f} times as far from the memory as it was, under contrast {p30_distances[contrast][normal, times clean]:.1f} times; an anomalous one {p30_distances[gaussian noise][anomalous, times clean]:.1f} and {p30_distances[contrast][anomalous, times clean]:.1f} times. The AUROC of patches falls from {p30_distances[clean][AUROC]:.2f} to {p30_distances[gaussian noise][AUROC]:.2f} and {p30_distances[contrast][AUROC]:.2f}. Below 0.5 means that defects look *more* normal than the rest. A likely reason: a dark and flat spot has little structure to lose.")  # fmt: skip

# %% [markdown]
# ## One Gaussian for everything?
#
# TTT++ and TTAC bring target and source together by their means and covariances, which is all there is to know if patch features are normal in the mathematician's sense too. Are they? If they were, the squared Mahalanobis distance of a
# held-out patch would follow a $\chi^2$ distribution. The features are reduced to their main directions first, so that a mixture can be fitted as well.

# %%
n_directions = pick(scale, smoke=4, laptop=16)
n_parts = pick(scale, smoke=2, laptop=8)
n_fitted = pick(scale, smoke=400, laptop=8000)


def reduced(s):
    """Training and held-out patches in the main directions of the former."""
    fit, held = (points.double() for points in normal_patches[s])
    mean, covariance = gaussian(fit)
    values, directions = torch.linalg.eigh(covariance)
    scales = values[-n_directions:].flip(0).sqrt()
    kept = directions[:, -n_directions:].flip(1) / scales
    # A random subset: every fourth patch of a raster would be every fourth column.
    some = np.random.default_rng(s).permutation(len(fit))[:n_fitted]
    return ((fit - mean) @ kept)[some].numpy(), ((held - mean) @ kept).numpy()


# %%
settings, gain = {"reg_covar": 1e-4, "max_iter": 50, "tol": 1e-2}, []
for s in range(seed, seed + n_seeds):
    fit, held = reduced(s)
    one, many = (
        GaussianMixture(k, random_state=s, **settings).fit(fit).score(held)
        for k in (1, n_parts)
    )
    gain.append(float(many - one))
mahalanobis = np.sort(((held - fit.mean(0)) ** 2 / fit.var(0)).sum(1))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(plotting.WIDTH, 3.5), layout="constrained")
axes[0].hexbin(
    fit[:, 0], fit[:, 1], gridsize=45, bins="log", cmap="Blues", linewidths=0
)
around = np.linspace(0, 2 * np.pi, 100)
for r in (1, 2, 3):
    axes[0].plot(r * np.cos(around), r * np.sin(around), color=RED, lw=1)
axes[0].set(xlabel="first main direction", ylabel="second", aspect="equal", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))  # fmt: skip
expected = stats.chi2.ppf((np.arange(len(mahalanobis)) + 0.5) / len(mahalanobis), n_directions)  # fmt: skip
axes[1].plot(expected, mahalanobis, color=BLUE, lw=2)
axes[1].plot(expected, expected, ":", color="0.4")
axes[1].set(xlabel="squared distance expected of a Gaussian", ylabel="found on held-out patches", yscale="log", xscale="log")  # fmt: skip
for axis in (axes[1].xaxis, axes[1].yaxis):
    axis.set_major_locator(FixedLocator([2, 5, 10, 20, 50, 100, 200, 500]))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())
plotting.show(fig, "Left: density of clean patch features in their two main directions, a bent band that is dense along its rim, with circles of one, two and three standard deviations of the fitted Gaussian, whose centre is nearly empty. Right: squared Mahalanobis distances of held-out patches against those of a Gaussian; the curve leaves the diagonal at the upper end.")  # fmt: skip

# %% tags=["remove-input"]
ledger.record("p30_gain", list(ledger.t_interval(gain)), tolerance=0.05)
tail = float((mahalanobis > stats.chi2.ppf(0.999, n_directions)).mean())
ledger.record("p30_tail", tail, tolerance=0.1)
ledger.say("On held-out patches a mixture of " + str(n_parts) + " Gaussians gains {p30_gain[0]:.2f} nats a patch [{p30_gain[1]:.2f}, {p30_gain[2]:.2f}] over one. And of held-out normal patches {p30_tail:.1%} lie where a Gaussian has one in a thousand. (Whether a single Gaussian is therefore a bad *detector* is another question; the table above answers it, before any shift.)")  # fmt: skip

# %% [markdown]
# ## Verdicts
#
# Planted defects at severity 5, by the rules above. Each inequality that a claim makes is judged by itself: one a method and corruption, where the claim speaks of every detector and all corruptions; one of distances and one of separation,
# averaged over the corruptions, where it speaks of a shift.

# %%
judged = wide[~wide.index.get_level_values("class").isin(FLAGGED)]
judged = judged.groupby(["method", "seed"], sort=False).mean()  # over classes
lost = {
    f"{method}: clean > {kind}": (of["clean"] - of[kind]).tolist()
    for method, of in judged.groupby("method", sort=False)
    for kind in KINDS
}
others = [kind for kind in KINDS if kind != "contrast"]
below = {
    f"{method}: {kind} > contrast": (of[kind] - of["contrast"]).tolist()
    for method, of in judged.groupby("method", sort=False)
    for kind in others
}
core = judged.loc["PatchCore"]
shift = moved.set_index(["seed", "condition"])[["normal", "AUROC"]].unstack()
farther = shift["normal"].div(shift["normal"]["clean"], axis=0)[list(KINDS)] - 1
blurred = shift["AUROC"].rsub(shift["AUROC"]["clean"], axis=0)[list(KINDS)]

# %%
hardest = grid[list(KINDS)].idxmin(axis=1)
told = "; ".join(f"{c}, {m}: {k}" for (c, m), k in hardest.items())
draws = "a seed draws the cells, the damage, the memory and the noise"
arena, points = (
    "Planted defects on solar cells, not MVTec AD.",
    "points of image AUROC",
)
beyond = {"clean less noise > 20": core["clean"] - core["gaussian noise"] - 20}
ledger.verdict("ttad-01", beyond, draws, "points beyond 20", arena)
why = f"Methods: {', '.join(METHODS)}. {arena}"
ledger.verdict("ttad-02", lost, draws, points, why, **NOTHING)
why = f"The hardest corruption in the mean over seeds, by class and method: {told}. The flagged class does not count. In print the claim does not hold for all methods either (page Audit). {arena}"
ledger.verdict("ttad-03", below, draws, points, why, **NOTHING)

# %%
each = [f"{k} {farther[k].mean():+.1f} and {blurred[k].mean():+.2f}" for k in KINDS]
why = f"By corruption, rise and loss: {'; '.join(each)}. PatchCore, planted defects with masks."
rise = "relative rise of the normal distance"
both = {rise: farther.mean(axis=1), "loss of patch AUROC": blurred.mean(axis=1)}
ledger.verdict("ttad-17", both, draws, "(a ratio, and AUROC from 0 to 1)", why)
likelier = {f"{n_parts} Gaussians > one, log-likelihood": gain}
why = f"{n_parts} components, full covariances, {n_directions} main directions of features of clean monocrystalline cells."
draws = "a seed draws the cells and starts the mixture"
ledger.verdict("ttad-18", likelier, draws, "nats a held-out patch", why)
plotting.margins(
    {"ttad-03": ledger.recorded("verdict ttad-03")},
    points,
    effects={"ttad-03": 1.0},
)

# %% [markdown]
# ## Paper against code
#
# The authors' code is not public. The paper says *severity 5, process of ImageNet-C*, and no more. Ours follows the published parameters on floats. Two things differ: no 8-bit storage (measured above) and no JPEG. And the parameters were
# made for pictures of $224 \times 224$: a disk of radius 10 covers more of a smaller picture, so our blur is harder than it is at the paper's size. The paper does not say at which resolution its corruptions were applied, before or after
# resizing; for noise and blur this matters as much as a severity.
#
# ## What it costs

# %% tags=["timing"]
batch = torch.cat([clean] * 4)[:10]
seconds = {}
for kind in KINDS:
    start = time.perf_counter()
    corrupt(batch, kind, 5)
    seconds[kind] = 1000 * (time.perf_counter() - start) / len(batch)
start = time.perf_counter()
detect(batch)
seconds["three detectors"] = 1000 * (time.perf_counter() - start) / len(batch)
ms = seconds["defocus blur"]
ledger.record("p30_ms_blur", ms, timing=True, bounds=(0.01, 5000))
costs = pd.DataFrame({"ms an image": seconds})
plotting.table(costs, f"{side} x {side} pixels", formats="{:.1f}", timing=True)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "What does a shift break? On solar cells with planted defects, noise moves a *normal* patch to {p30_distances[gaussian noise][normal, times clean]:.1f} times its distance from a memory of clean ones and an anomalous one to {p30_distances[gaussian noise][anomalous, times clean]:.1f} times, so that the AUROC between them falls from {p30_distances[clean][AUROC]:.2f} to {p30_distances[gaussian noise][AUROC]:.2f}.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# Brightness only adds a constant before it clips. Undo what can be undone: subtract 0.5 from the corrupted picture, clip at 0, and score again. How much comes back, and what is it that does not?

# %% [markdown]
# ### Solution
#
# Where nothing was clipped, the subtraction is exact (for grey pictures; for colours it is not quite, as HSV keeps the saturation). What was brighter than 0.5 has become white, and comes back as a plateau of exactly 0.5: flat, grey, and
# far from anything in the memory. On bright cells that is most of the picture (the caption counts), so little comes back, or less than nothing. A shift is not a formula to be inverted; part of it is loss.

# %%
data = CANDIDATES[ARENA[0]](seed)
detect = Detectors(net, n_entries, seed).fit(data.train)
bright = corrupt(data.test, "brightness", 5)
seen = {"clean": data.test, "bright": bright, "undone": (bright - 0.5).clamp(0, 1)}
tops = {name: detect(images)["PatchCore"].amax(1) for name, images in seen.items()}
rows = {name: 100 * image_auroc(top, data.labels) for name, top in tops.items()}
said = f"{float((bright >= 1).float().mean()):.0%} of all values were clipped"
plotting.table(pd.DataFrame({"AUROC (%)": rows}), said, formats="{:.1f}")
