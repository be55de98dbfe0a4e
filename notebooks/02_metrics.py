# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Metrics
#
# Five numbers that judge an anomaly map, drawn step by step; then one of them, AU-PRO, in a dozen readings found in the wild,
# all on the same maps.
#
# No claim is tested here: this page makes the ruler that all others measure with. The definitions are those of the MVTec AD
# papers (Bergmann et al., IJCV 2021 and IJCV 2022); the code is `otad.metrics`.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import inspect
import timeit

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import ListedColormap
from scipy import ndimage

from otad import ledger, metrics, plotting
from otad.data.drawn import textures
from otad.features.handcrafted import colours, minmax
from otad.methods import FCA
from otad.methods.matching.patch_statistics import histogram, moments
from otad.metrics import Defect
from otad.scale import pick
from otad.studies.aupro_readings import CORNERS, NOTES, READINGS
from otad.studies.aupro_readings import area, plain, shares, walk

BLUE, RED, GREEN = plotting.COLORS[:3]


def digits(text):
    """An array of integers from lines of digits, a dot for zero."""
    return np.array(
        [[int(c) for c in row] for row in text.replace(".", "0").split()]
    )


# %% [markdown]
# ## A map one can count on one's fingers
#
# Two images, $6 \times 10$ pixels. The first has two defects, outlined: a large one that the detector sees well and a small
# one that it nearly misses. The second is good, with a hot pixel. Higher digits mean *more anomalous*. Keep an eye on the
# small defect: it is two pixels out of fourteen, and one region out of two.

# %%
defective = digits("""
    1.21....1.
    .8972..53.
    .99861..41
    .78952..1.
    .2321..1..
    1..1.6.2..""")
good = digits("""
    ..1...2...
    1...7...1.
    ...21..3..
    .1...1....
    4.....2.1.
    ..2.1....1""")
defects = digits("""
    ..........
    .1111..1..
    .1111...1.
    .1111.....
    ..........
    ..........""")
maps, masks = np.stack([defective, good]), np.stack([defects, 0 * defects]) > 0

# %% tags=["hide-input"]
toy = {"two defects": maps[0], "a good image": maps[1]}
plotting.cells(toy, digits=0, outlines=dict(zip(toy, masks, strict=True)))

# %% [markdown]
# A threshold turns the map into a verdict: everything that scores at least $t$ is called anomalous. Then each pixel is one of
# four things: a hit, a miss, a false alarm, or rightly left alone. The *true-positive rate* (TPR) is the share of
# defect pixels hit, the *false-positive rate* (FPR) the share of good pixels called anomalous, in all images. The
# *per-region overlap* (PRO) is the share hit of each region, averaged over regions, and regions are connected through
# corners, too. Lower the threshold from left to right and compare TPR with PRO.

# %%
shown = [8, 5, 4, 2]
regions = np.stack([ndimage.label(k, CORNERS)[0] for k in masks])  # 0: good
rates = {}
for t in shown:
    hit = maps >= t
    pro = np.mean([hit[regions == k].mean() for k in (1, 2)])
    rates[t] = {"TPR": hit[masks].mean(), "FPR": hit[~masks].mean(), "PRO": pro}

# %% tags=["hide-input"]
kinds = {"left alone": "#DDDDDD", "false alarm": RED, "miss": BLUE, "hit": GREEN}
fig, axes = plt.subplots(2, 4, figsize=(plotting.WIDTH, 3.7), layout="constrained")  # fmt: skip
palette = ListedColormap(list(kinds.values()))
for column, t in zip(axes.T, shown, strict=True):
    for ax, scores, mask in zip(column, maps, masks, strict=True):
        ax.imshow((scores >= t) + 2 * mask, cmap=palette, vmin=0, vmax=3)
        plotting.outline(ax, mask, "black")
        ax.set(xticks=[], yticks=[])
    column[0].set_title(f"score ≥ {t}")
    said = "TPR {TPR:.2f}, FPR {FPR:.2f}\nPRO {PRO:.2f}"
    column[1].set_xlabel(said.format(**rates[t]))
handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in kinds.values()]
fig.legend(handles, kinds, loc="outside lower center", ncols=4)
alt = "Both maps at four falling thresholds; at 4 both defects are found."
plotting.show(fig, alt)

# %% [markdown]
# ## AUROC: would a defect pixel outrank a good one?
#
# All thresholds at once: TPR against FPR is the ROC curve, and the area under it is AUROC. It has a second meaning, easier to
# hold on to: the chance that a random defect pixel scores higher than a random good one, ties counting one half. Both
# ways must agree, and the second can be counted pair by pair.

# %%
pairs = maps[masks][:, None].astype(float) - maps[~masks]
by_pairs = np.mean((pairs > 0) + 0.5 * (pairs == 0))
ledger.record("p02_toy_auroc", metrics.pixel_auroc(maps, masks))
gap = abs(metrics.pixel_auroc(maps, masks) - by_pairs)
ledger.record("p02_toy_auroc_gap", gap, below=1e-9)

# %% [markdown]
# ## AU-PRO: would every defect be found before the alarms drown it?
#
# AUROC counts pixels, so a large defect outvotes small ones. PRO gives every region one vote. As nobody would use a detector
# at an FPR of 80 %, its curve is cut at a limit, 0.3 unless said, and the area is divided by the limit so that perfect is 1.
# Four fine points decide the value, and the second half of this page is about what happens when they are got wrong: *every*
# distinct score is a threshold; tied pixels pass together; the points are joined by straight lines; the last line is cut
# exactly *at* the limit. Look at the shaded areas: the first step of the PRO curve is lower than the ROC's, because the
# small defect is late.

# %%
fpr, pro = metrics.pro_curve(maps, masks)
tpr = np.array([0.0] + [(maps >= t)[masks].mean() for t in np.unique(maps)[::-1]])
limit = 0.3
ledger.record("p02_toy_aupro", metrics.aupro(maps, masks, limit))

# %% tags=["hide-input"]
auroc, aupro = (ledger.recorded(f"p02_toy_{name}") for name in ("auroc", "aupro"))
roc = f"ROC: pixels, area {auroc:.3f}"
cut = f"PRO: regions, area to 0.3 ÷ 0.3 = {aupro:.3f}"
falling = ["", *(f"≥ {t}" for t in np.unique(maps)[:1:-1])]
plotting.lines(
    {roc: {"TPR": (fpr, tpr)}, cut: {"PRO": (fpr, pro)}},
    "false-positive rate (shown to 0.4)",
    "share found",
    alt="Until the small defect is found at 5, PRO stays far below.",
    upright={cut: {"limit": limit}},
    filled={"TPR": 0.4, "PRO": limit},
    notes={"TPR": falling, "PRO": falling},
    xlim=(-0.01, 0.4),
)

# %% tags=["remove-input"]
ledger.say(
    "AUROC is {p02_toy_auroc:.3f} (by pairs, {p02_toy_auroc_gap:.0e} off); AU-PRO is {p02_toy_aupro:.3f}."
)

# %% [markdown]
# ## AU-sPRO: how much of a defect is enough?
#
# A cable is missing. Where? Annotators mark the whole area where it could have been, and no detector should be blamed for
# pointing at one part of it. MVTec LOCO AD therefore gives every defect a *saturation area* $s$: sPRO is
# $\min(\mathrm{TP} / s, 1)$. In the data set's files $s$ is either a share of the area (relative, rounded down) or a number
# of pixels (absolute, capped by the area). One annotation is one defect, connected or not; the limit is 0.05.
# The same map, three rules: look at how early the curve is allowed to be satisfied.

# %%
missing = digits("""
    ..1.......
    ..2389841.
    ..1579973.
    ..112321..
    1....1..1.
    .....2....""")
annotated = np.zeros((6, 10), dtype=bool)
annotated[1:4, 1:9] = True
scenes = np.stack([missing, maps[1]])
areas = {
    "all of it (plain PRO)": metrics.saturation_area(24, 1.0, True),
    "relative, a quarter": metrics.saturation_area(24, 0.25, True),
    "absolute, 10 pixels": metrics.saturation_area(24, 10, False),
}
marked = {name: [[Defect(annotated, area)], []] for name, area in areas.items()}
frame = pd.DataFrame({"area (pixels)": areas})
for end in (0.05, 0.3):
    values = {name: metrics.auspro(scenes, d, end) for name, d in marked.items()}
    frame[f"AU-sPRO, {end}"] = pd.Series(values)
ledger.record("p02_toy_auspro", frame["AU-sPRO, 0.05"].to_dict())
caption = "One defect of 24 annotated pixels, three saturation areas"
plotting.table(frame, caption=caption, formats="{:.3f}")

# %% tags=["hide-input"]
where = "somewhere here, something is missing"
plotting.cells({where: missing}, digits=0, outlines={where: annotated})
spro = {
    f"{name}: {pixels}": metrics.spro_curve(scenes, marked[name])
    for name, pixels in areas.items()
}
below = "false-positive rate; in the legend saturation areas in pixels"
plotting.lines({"": spro}, below, "sPRO", upright={"": {"limit": 0.05}})

# %% [markdown]
# ## F1-max and average precision: how clean is the list of alarms?
#
# *Precision* is the share of alarms that are right, *recall* another name for TPR, and $F_1$ their harmonic mean; F1-max takes the
# best threshold, chosen with the answers in hand (so it is an upper bound, not a promise). *Average precision* is the area
# under precision against recall. Both know something that AUROC and PRO do not: how rare defects are. To see it, show the
# detector the same good image once, five or fifty times, and look at which columns move.

# %%
NUMBERS = {
    "AUROC": metrics.pixel_auroc,
    "AU-PRO": metrics.aupro,
    "average precision": metrics.average_precision,
    "F1-max": lambda m, k: metrics.f1_max(m, k)[0],
}
rows = []
for copies in (1, 5, 50):
    m, k = (np.concatenate([a[:1], *[a[1:]] * copies]) for a in (maps, masks))
    rows.append({"good images": copies} | {n: f(m, k) for n, f in NUMBERS.items()})
for key, value in zip(("", "_threshold"), metrics.f1_max(maps, masks), strict=True):
    ledger.record(f"p02_toy_f1{key}", value)
ledger.record("p02_more_good_images", rows)
plotting.table(pd.DataFrame(rows), "More good images", formats="{:.3f}")

# %% [markdown]
# ## One sort is enough
#
# Evaluating every threshold sounds slow. The plain algorithm, as MVTec's own evaluation does it, is one walk down the sorted
# pixels: each pixel passed adds $1/G$ to the FPR ($G$ good pixels) or $1/(R\,|r|)$ to the PRO ($R$ regions, its own of
# $|r|$ pixels). Written with the weights as arguments, it will serve for the variants below, too.

# %%
for part in (shares, walk, area, plain):
    print(inspect.getsource(part))

# %% [markdown]
# `otad.metrics` is quicker by an observation: the area needs only one thing of every *defect* pixel, the FPR at
# which it is passed. So sort the scores of good pixels without carrying anything along, and look the few defect pixels up.
# The ratio below is measured side by side on random maps; above 1, ours is faster.


# %% tags=["timing"]
def side_by_side(images):
    rng = np.random.default_rng(seed)
    k = np.zeros((images, 256, 256), dtype=bool)
    k[::2, 40:110, 50:120] = k[::2, 200:210, 200:240] = True
    m = rng.random(k.shape, dtype=np.float32) + 0.3 * k.astype(np.float32)
    slow = min(timeit.repeat(lambda: plain(m, k), number=1, repeat=3))
    quick = min(timeit.repeat(lambda: metrics.aupro(m, k), number=1, repeat=3))
    row = {"pixels (million)": m.size / 1e6, "plain (s)": slow, "otad (s)": quick}
    gap = abs(plain(m, k) - metrics.aupro(m, k))
    return row | {"ratio": slow / quick, "difference": f"{gap:.0e}"}


timings = pd.DataFrame(map(side_by_side, pick(scale, smoke=[4], laptop=[4, 40])))
caption, ratio = "AU-PRO, exact, and its seconds", timings["ratio"].iloc[-1]
ledger.record("p02_speed_ratio", ratio, timing=True, bounds=(1, None))
plotting.table(timings, caption=caption, formats="{:.3f}", timing=True)

# %% [markdown]
# ## The same maps under every variant found in the wild
#
# "AU-PRO" in a table may be any of the following. The list is from public repositories and their issue trackers (anomalib
# #1651 and #3718, open-iad #12, PyramidFlow #13, SubspaceAD #11); each is written in a line or two of our own, in
# `otad.studies.aupro_readings`, as a function from maps and masks to a number.

# %% tags=["hide-input"]
plotting.table(pd.Series(NOTES).to_frame("what differs"), "AU-PRO, as it is found")

# %% [markdown]
# The maps are real ones: five procedural textures with six kinds of defects (page 03 introduces them), scored by three methods
# of the FCA paper on the plainest features there are, the colours. Every method sees each test image alone. A glance at a
# few, one colour scale a method:

# %%
size = pick(scale, smoke=64, laptop=96)
names = pick(scale, smoke=textures.NAMES[:2], laptop=textures.NAMES)
counts = pick(
    scale, smoke=(1, 2, 1), laptop=(1, 6, 2)
)  # to learn, good, of each defect
sets = {n: textures.load(n, size, *counts, seed=seed) for n in names}
truth = {name: data.masks.numpy() for name, data in sets.items()}
T = pick(scale, smoke=5, laptop=7)
methods = {
    "moments": lambda f: moments(f, T),
    "histogram": lambda f: histogram(f, T),
    "FCA": FCA(patch_size=T).score_features,
}
seen = {name: minmax(colours(data.test)) for name, data in sets.items()}
scored = {
    (name, method): torch.stack([score(f) for f in seen[name]]).double().numpy()
    for name in names
    for method, score in methods.items()
}

# %% tags=["hide-input"]
first, some = names[-2], sets[names[-2]]
few = [some.kinds.index(k) for k in ("good", "cut", "hole", "contamination")]
drawn = {method: scored[first, method][few] for method in methods}
titles = [some.kinds[i] for i in few]
plotting.show_maps(some.test[few], some.masks[few], drawn, titles)

# %% [markdown]
# Now the table. For each reading: the mean AU-PRO of each method over the textures; how far the reading moves a
# value, on average and at worst; and in how many of the comparisons between two methods on one texture it turns the order
# around. Look at the last two columns: a reading may shift every value and still be harmless for comparisons made within it.

# %%
wide = pd.DataFrame(
    {
        r: {k: f(m, truth[k[0]]) for k, m in scored.items()}
        for r, f in READINGS.items()
    }
)
wide.index.names = ["texture", "method"]
shift = wide.sub(wide["exact"], axis=0)


def turned(reading):
    """Pairs of methods, per texture, whose order differs from the exact one."""
    count = 0
    for _, block in wide.groupby(level="texture"):
        both = block[[reading, "exact"]].to_numpy().T
        now, exact = (np.sign(np.subtract.outer(v, v)) for v in both)
        count += int((now != exact).sum()) // 2
    return count


# %%
means = wide.groupby(level="method").mean().T[list(methods)]
summary = means.assign(**{"mean shift": shift.mean()})
summary["largest shift"] = shift.abs().max()
summary["orders turned"] = [turned(r) for r in wide]
comparisons = len(sets) * 3
ledger.record("p02_variants", summary.T.to_dict(), tolerance=5e-3)
formats = dict.fromkeys(summary.columns[:5], "{:.3f}") | {"mean shift": "{:+.3f}"}
caption = f"One set of maps, {len(READINGS)} readings of AU-PRO ({comparisons} comparisons of two methods)"
plotting.table(summary.rename_axis(None), caption=caption, formats=formats)

# %% tags=["hide-input"]
plotting.bars(
    marks=means,
    label=f"mean AU-PRO over {len(sets)} textures",
    levels=means.loc["exact"].to_dict(),
)

# %%
others, exact = summary.drop(index="exact"), means.loc["exact"]
loose = {"tolerance": 5e-3}
shifts = {"mean": others["mean shift"].abs(), "single": others["largest shift"]}
for key, moved in shifts.items():
    ledger.record(f"p02_largest_{key}_shift", moved.max(), **loose)
    ledger.record(f"p02_largest_{key}_shift_reading", moved.idxmax())
ledger.record("p02_method_gap", float(exact.max() - exact.min()), **loose)
ledger.record("p02_orders_turned", int(others["orders turned"].sum()))
ledger.record("p02_readings_that_turn", int((others["orders turned"] > 0).sum()))
ledger.record("p02_comparisons", comparisons)
for name, how in (("corners", CORNERS), ("sides", None)):
    count = sum(ndimage.label(m, how)[1] for k in truth.values() for m in k)
    ledger.record(f"p02_regions_{name}", count)

# %% tags=["remove-input"]
ledger.say(
    "The best and the worst of the three methods are {p02_method_gap:.3f} apart in truth. The reading "
    "*{p02_largest_mean_shift_reading}* moves the mean by {p02_largest_mean_shift:.3f}, and "
    "*{p02_largest_single_shift_reading}* a single value by {p02_largest_single_shift:.3f}. "
    f"Among the {len(READINGS) - 1} other readings, the number that turn any of the {{p02_comparisons}} comparisons "
    "around is {p02_readings_that_turn}, with {p02_orders_turned} turned in all. So methods as far apart as these mostly keep their "
    "order *within* one reading; *across* readings, between two papers that do not say which one they use, "
    "a difference of this size means nothing."
    "\n\nSome shifts explain themselves. Where corners do not connect, the {p02_regions_corners} regions fall into "
    "{p02_regions_sides}, and every splinter has a full vote. A coarser mask does the opposite: it drops or fattens what is "
    "small and thin. And without the cut, most of the area lies at false-positive rates that nobody would accept, where "
    "even a poor method finds most of a defect."
)

# %% [markdown]
# ### A reading that depends on the unit
#
# Evenly spaced thresholds have a vice of their own. All exact metrics here see only the *order* of scores; squaring a map, or
# taking its logarithm, changes nothing. Two hundred steps between minimum and maximum do see the units: where a few pixels score
# high, nearly all steps fall into the empty stretch above the crowd. Squares and square roots of the same maps:


# %%
def over_textures(reading, method, change):
    """Mean of a reading over the textures, of the changed maps of a method."""
    f = READINGS[reading]
    return np.mean([f(change(scored[n, method]), truth[n]) for n in names])


powers = {"map": 1.0, "square": 2.0, "square root": 0.5}
units = pd.DataFrame(
    {"method": method, "reading": reading}
    | {
        u: over_textures(reading, method, lambda m, p=p: m**p)
        for u, p in powers.items()
    }
    for method in methods
    for reading in ("exact", "200 thresholds, rescaled")
)
spread = units[list(powers)].max(axis=1) - units[list(powers)].min(axis=1)
exact = units["reading"] == "exact"
ledger.record("p02_unit_spread_exact", spread[exact].max(), below=1e-9)
ledger.record("p02_unit_spread_200", spread[~exact].max(), **loose)
plotting.table(units, "The same maps in other units: mean AU-PRO", formats="{:.3f}")

# %% tags=["remove-input"]
ledger.say(
    "The exact value moves by {p02_unit_spread_exact:.0e}, that of 200 thresholds by up to {p02_unit_spread_200:.3f}."
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Does it matter how AU-PRO is counted? On drawn textures three methods are at most {p02_method_gap:.2f} apart in truth, and one reading found in the wild, *{p02_largest_mean_shift_reading}*, alone moves their mean by {p02_largest_mean_shift:.2f}. Numbers of two papers say little about each other unless both say how they counted.",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# Many detectors clip: every pixel below some level scores zero. Clip each map at its median, so that half of all pixels tie. Which
# readings change, and which do not? Think first about what the trapezoid draws across a tie of half the pixels.
#
# ### Solution
#
# With the limit at 0.3, half the pixels tie below everything that matters: the FPR reaches 0.3 before the tie, and a cut at the
# limit never sees it. *Never cut* does: across the tie it draws one straight line from about FPR ½ to 1, which is not where the
# curve was. Clip at the 85 % quantile instead, and the exact value feels it a little: the last line starts near FPR 0.15 and
# is interpolated at 0.3. *Averaged end point* and *200 thresholds* stop at the last point before the tie, divide by the FPR
# they stopped at, and so report the mean height of the steep beginning alone.


# %% tags=["hide-input"]
def floored(level):
    return lambda m: np.maximum(m, np.quantile(m, level))


shown = ("exact", "never cut", "averaged end point", "200 thresholds, rescaled")
clipped = pd.DataFrame(
    {"clipped at quantile": level}
    | {r: over_textures(r, "FCA", floored(level)) for r in shown}
    for level in (0.0, 0.5, 0.85)
)
ledger.record("p02_clipped", clipped.iloc[-1].to_dict(), **loose)
caption = "Mean AU-PRO of FCA over the textures, its maps clipped from below"
plotting.table(clipped, caption=caption, formats="{:.3f}")
