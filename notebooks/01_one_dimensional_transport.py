# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One-dimensional transport
#
# On a line, optimal transport is sorting; and once sorted, every pixel knows how far it is from where it ought to be.
#
# This is the arithmetic under Feature Correspondence Analysis (FCA), *High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence Analysis*, Sections
# 3.2 and 3.3. Two claims are proved here by computation: **fca-18** (averaged rank-matching errors are the Wasserstein distance, the limit of histograms) and **fca-19** (the
# per-rank median is the best reference). The second half leaves the line: entropic plans, which TTAD, PRADOT and FOCT build on, and what their parameter $\varepsilon$ does.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import ot
import pandas as pd
import torch
from skimage import data

from otad import ledger, plotting
from otad.machine import seconds
from otad.scale import pick
from otad.studies import one_dimensional as referees
from otad.transport import hard_plan, matching_errors, sinkhorn, wasserstein_1d

BLUE, RED, GREEN = plotting.COLORS[:3]

# %% [markdown]
# ## Sorting is optimal
# Two bags of $n$ numbers, $x_1 \dots x_n$ and $y_1 \dots y_n$. Pair them off; a pair costs $|x_i - y_j|$; the cheapest
# pairing is the *optimal transport* of one bag into the other, and its mean cost is the *Wasserstein distance*
#
# $$ W_1(x, y) = \min_{\pi} \frac1n \sum_{i=1}^n |x_i - y_{\pi(i)}| . $$
#
# There are $n!$ pairings. One look at two arrows that cross settles which is best: uncross them, and the total never grows, $|a-c| + |b-d| \le |a-d| + |b-c|$
# for $a \le b$, $c \le d$. A pairing without crossings pairs smallest with smallest, second with second, and so on: $W_1 = \frac1n\sum_i |x_{(i)} - y_{(i)}|$,
# with $x_{(i)}$ the value of rank $i$. Below, the same six dots twice: look at the arrows' total length, written above each panel.

# %%
rng = np.random.default_rng(seed)
x, y = np.sort(rng.random(6)), np.sort(rng.random(6) * 0.8 + 0.3)
pairings = {
    "a pairing that crosses": rng.permutation(6),
    "smallest to smallest": np.arange(6),
}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(plotting.WIDTH, 2.4), layout="constrained", sharey=True)  # fmt: skip
for ax, (name, pairing) in zip(axes, pairings.items(), strict=True):
    for i, j in enumerate(pairing):
        arrow = {"arrowstyle": "->", "color": "0.45"}
        ax.annotate("", (y[j], 0), (x[i], 1), arrowprops=arrow)
    ax.plot(x, np.ones(6), "o", color=BLUE)
    ax.plot(y, np.zeros(6), "s", color=RED)
    cost = np.abs(x - y[pairing]).mean()
    ax.set(title=f"{name}: mean cost {cost:.3f}", xlabel="value", ylim=(-0.2, 1.2))
    ax.set_yticks([0, 1], ["y", "x"])
plotting.show(fig, alt="Six dots of x above six dots of y, joined by arrows. Left, a random pairing whose arrows cross; right, the sorted pairing, without crossings and with a smaller mean cost.")  # fmt: skip

# %% [markdown]
# An argument deserves a referee. `wasserstein_1d` only sorts; here it meets every one of the $6! = 720$ pairings, and, for bags of unequal size (13
# against 17, where mass must be split), the linear program of POT. (The referees of this page, here and below, are in `otad.studies.one_dimensional`.)

# %%
cases = pick(scale, smoke=5, laptop=60)
pairing_gap, program_gap = referees.sorting_gaps(rng, cases)
ledger.record("p01_permutation_gap", pairing_gap, below=1e-9)
ledger.record("p01_program_gap", program_gap, below=1e-9)
ledger.record("p01_cases", cases)

# %% tags=["remove-input"]
ledger.say("Over {p01_cases} random cases each, the largest difference from the best of all permutations is {p01_permutation_gap:.0e}, and from the linear program {p01_program_gap:.0e}: rounding. Sorting it is.")  # fmt: skip

# %% [markdown]
# ## Errors go back to the pixels
# Here is the step that turns a distance between bags into an anomaly map. Sorting forgets where a value came from, but a permutation can be undone:
# the error of rank $i$, $|x_{(i)} - y_{(i)}|$, is handed back to the pixel that held rank $i$. FCA calls this the *matching error* $M(p; P)$ of
# pixel $p$ in the patch $P$. No pixel of the patch was ever compared with the pixel at the same place in the reference: only ranks were.
#
# A patch of a brick wall, a photograph that comes with scikit-image, with a drip of white paint. The reference is the nearest, in $W_1$, of a hundred-odd other patches of the wall.

# %%
brick, T = data.brick() / 255.0, 40
patch = brick[100 : 100 + T, 60 : 60 + T].copy()
corners = [(i, j) for i in range(150, 460, T) for j in range(0, 460, T // 2)]
others = np.stack([brick[i : i + T, j : j + T] for i, j in corners])
paint = np.abs(np.arange(T)[:, None] - 0.6 * np.arange(T) - 8) < 1
paint[:, :8] = paint[:, 32:] = False
patch[paint] = 0.85
to_others = wasserstein_1d(others.reshape(-1, T * T), patch.ravel())
reference = others[to_others.argmin()]

# %% [markdown]
# Look at the two sorted curves, which part company at the bright end, and at the map, where the paint stands out although nobody has aligned the two patches.

# %%
ranked = np.sort(reference.ravel())
errors = matching_errors(patch.ravel(), ranked).reshape(T, T).numpy()
w1 = float(wasserstein_1d(patch.ravel(), reference.ravel()))
ledger.record("p01_brick_w1", w1)
ledger.record("p01_brick_mean_error", errors.mean())
ledger.record("p01_paint_error", errors[paint].mean())
ledger.record("p01_elsewhere_error", errors[~paint].mean())

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 4, figsize=(plotting.WIDTH, 2.4), layout="constrained", width_ratios=[1, 1, 1.3, 1.2])  # fmt: skip
grey = {"cmap": "gray", "vmin": 0.2, "vmax": 0.9}
plotting.draw(axes[0], patch, "patch, painted", **grey)
plotting.draw(axes[1], reference, "reference patch", **grey)
percent = 100 * (np.arange(T * T) + 0.5) / T**2
bright = np.sort(patch.ravel())
axes[2].plot(percent, bright, color=BLUE, label="patch")
axes[2].plot(percent, ranked, color=RED, label="reference")
axes[2].fill_between(percent, bright, ranked, color="0.8", label="W₁ = area")
axes[2].set(xlabel="rank (%)", ylabel="grey value")
axes[2].set_title("sorted", fontsize=10)
axes[2].legend(fontsize=10)
drawn = plotting.draw(axes[3], errors, "error, sent back")
fig.colorbar(drawn, ax=axes[3], label="|difference of grey values|")
plotting.show(fig, alt="A brick patch with a line of paint, a clean one from elsewhere on the wall, their sorted grey values, which part at the bright end, and the map of errors, where the paint is by far the brightest thing.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("The mean of the map is {p01_brick_mean_error:.6f}, and the Wasserstein distance of the two bags of pixels is {p01_brick_w1:.6f}. A painted pixel carries {p01_paint_error:.3f} on average, any other {p01_elsewhere_error:.3f}.")  # fmt: skip

# %% [markdown]
# ### When pixels tie
# Photographs have 8 bits, so a patch is full of equal values, and "the pixel that held rank $i$" is a matter of taste. Two tastes are on offer. `ties="index"` goes
# by raster order, as a stable sort does. `ties="mean"`, our default, gives all equal pixels the mean error of the ranks they share; the sum over the patch stays the
# same, and the map depends neither on the sort nor on the device. Look at the last column: the first taste breaks ties by *position*, which a mirrored patch reveals.

# %%
rows = {}
for ties in ("index", "mean"):
    straight, mirrored = (
        matching_errors(p.ravel(), ranked, ties).reshape(T, T)
        for p in (patch, patch[:, ::-1])
    )
    change = float((straight - mirrored.flip(1)).abs().max())
    mean = float(straight.mean())
    rows[ties] = {"mean error": mean, "largest change when mirrored": change}
ledger.record("p01_distinct_values", len(np.unique(patch)))
ledger.record("p01_tie_change", rows["index"]["largest change when mirrored"])
frame = pd.DataFrame(rows).T.rename_axis(columns="ties")
plotting.table(frame, caption="Two ways to treat tied pixels", formats="{:.6f}")

# %% tags=["remove-input"]
ledger.say(f"The patch has {T * T} pixels and only {{p01_distinct_values}} distinct values. Going by raster order, mirroring the patch moves an error by up to {{p01_tie_change:.3f}}.")  # fmt: skip

# %% [markdown]
# ## Histograms are the limit
# The usual way to compare two bags of numbers is to histogram them first. The earth mover's distance between two histograms with $B$ bins of width
# $w$ is $w \sum_b |F_b - G_b|$, with $F$, $G$ the cumulative histograms. Binning moves a value by at most half a bin, so this is off by at most $w$:
# histograms approximate what sorting gets exactly. Look at how slowly they come down, and where the ten bins of FCA's histogram baseline stand.


# %%
def histogram_emd(x, y, bins):
    """EMD of two histograms over the joint range of the samples, and their bin width."""
    edges = np.linspace(min(x.min(), y.min()), max(x.max(), y.max()), bins + 1)
    f, g = (np.cumsum(np.histogram(v, edges)[0]) / v.size for v in (x, y))
    width = edges[1] - edges[0]
    return width * np.abs(f - g).sum(), width


places = rng.integers(0, 490, (9, 2))
crops = np.array([brick[i : i + 21, j : j + 21].ravel() for i, j in places])
crops += rng.uniform(-0.5, 0.5, crops.shape) / 255  # undo the camera's own 256 bins
first, rest = crops[0], crops[1:]
exact = wasserstein_1d(first, rest).numpy()

# %%
most, steps = pick(scale, smoke=(3, 10), laptop=(5, 31))
bins = np.unique(np.logspace(0, most, steps).astype(int))
emd = np.array([[histogram_emd(first, crop, b) for b in bins] for crop in rest])
gap, bound = np.abs(emd[..., 0] - exact[:, None]), emd[..., 1]
at_ten = np.array([histogram_emd(first, crop, 10)[0] for crop in rest])
off = (np.abs(at_ten - exact) / exact).mean()
ledger.record("p01_ten_bins_relative_error", off)
ledger.record("p01_bound_excess", max(0.0, (gap - bound).max()), below=1e-9)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.loglog(bins, (gap / exact[:, None]).T, color=BLUE, alpha=0.5, lw=1)
ax.loglog(bins, (bound / exact[:, None]).mean(axis=0), color="black", ls="--")
ax.axvline(10, color=RED, lw=1)
ax.text(11, 3e-6, "FCA's baseline: 10 bins", color=RED)
ax.text(60, 0.5, "bound: one bin width")
ax.set(xlabel="number of bins", ylabel="|EMD − W₁| / W₁", ylim=(1e-7, 1e2))
plotting.show(fig, alt="Relative error of the histogram earth mover's distance against the number of bins for eight pairs of brick patches, on logarithmic axes: all fall roughly as one over the number of bins, below the dashed bound.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("With ten bins the distance is off by {p01_ten_bins_relative_error:.0%} on average over these pairs.")  # fmt: skip

# %% [markdown]
# Now the claim itself, in the many shapes data come in: uniform, heavy-tailed, full of ties (rectified like a ReLU, or rounded), any patch
# size up to $11 \times 11$, several channels at once. The referee is POT's `emd2_1d`, which knows nothing of ranks handed back to pixels;
# the error counted is the largest of $|\mathrm{mean}(M) - W_1|$ under both tie rules and of any excess over the histogram bound above.

# %%
cases = pick(scale, smoke=10, laptop=300)
worst, tried = referees.identity_gap(rng, cases)
worst = max(worst, (gap - bound).max(), 0.0)
ledger.record("p01_identity_cases", tried)
ledger.record("p01_identity_worst", worst, below=1e-9)
ledger.proof(
    "fca-18",
    worst_error=worst,
    tolerance=1e-6,
    why="mean matching error against POT's linear program on random and tied "
    "samples, and the histogram EMD of real patches within one bin width of it",
)

# %% [markdown]
# ## The median is the best single reference
# FCA has no normal images: it compares every patch of *one* image with a single reference patch made from
# that image. Which one? Equation 7 asks for the reference with the smallest sum of distances to all patches,
#
# $$ \operatorname*{argmin}_{r_{(1)} \le \dots \le r_{(n)}} \; \sum_{P} W_1(P, r)
#    = \operatorname*{argmin}_{r} \; \sum_{i=1}^{n} \Big( \sum_P |v_{(i)}(P) - r_{(i)}| \Big), $$
#
# with $v_{(i)}(P)$ the value of rank $i$ in patch $P$. Each rank minds its own business, and a sum of absolute differences is smallest at a
# median. The medians come out sorted by themselves, because every patch's values are. What follows takes all tiles of a quarter of the brick
# wall. Look at the flat curves at the bottom, tiles without mortar: they drag the mean down, while the median sides with the majority.

# %%
side, n = 16, 256 // 16
tiles = brick[:256, :256].reshape(n, side, n, side).transpose(0, 2, 1, 3)
tiles = np.sort(tiles.reshape(-1, side * side), axis=1)  # (patches, ranks)
median, mean = np.median(tiles, axis=0), tiles.mean(axis=0)


def summed(references):
    """Σ_P W₁(P, r) for each reference r (..., ranks)."""
    return wasserstein_1d(tiles[:, None], np.atleast_2d(references)).sum(0).numpy()


steps = np.linspace(-1, 2, 31)
along = summed(np.sort(median + steps[:, None] * (mean - median), axis=1))
to_median, to_mean = summed(median)[0], summed(mean)[0]
ledger.record("p01_tiles", len(tiles))
ledger.record("p01_sum_median", to_median)
ledger.record("p01_sum_mean", to_mean)

# %% tags=["hide-input"]
fig, (left, right) = plt.subplots(1, 2, figsize=(plotting.WIDTH, 3.2), layout="constrained", width_ratios=[1.3, 1])  # fmt: skip
percent = 100 * (np.arange(side**2) + 0.5) / side**2
left.plot(percent, tiles[::2].T, color="0.75", lw=0.5)
left.plot(percent, median, color=BLUE, lw=2, label="per-rank median")
left.plot(percent, mean, color=RED, lw=2, ls="--", label="per-rank mean")
left.set(xlabel="rank (%)", ylabel="grey value", title=f"sorted values of {side} × {side} tiles")  # fmt: skip
left.legend()
right.plot(steps, along, color="black")
right.plot(0, to_median, "o", color=BLUE)
right.plot(1, to_mean, "s", color=RED)
right.set(xlabel="position: 0 = median, 1 = mean", ylabel="summed W₁", title="from one to the other")  # fmt: skip
plotting.show(fig, alt="Left, the sorted grey values of brick tiles as thin curves with their per-rank median and mean. Right, the summed distance on the way from median to mean and beyond, convex and smallest at the median.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Over {p01_tiles} tiles the distances to the median reference sum to {p01_sum_median:.2f}, to the mean reference {p01_sum_mean:.2f}.")  # fmt: skip

# %% [markdown]
# Three attempts to beat the median: thousands of sorted perturbations of it, large and small; a linear program that is told to keep the reference
# sorted; and, on integer grids, every sorted reference there is. The number kept is the largest *decrease* any of them finds. (With an even number of
# patches any value between the two middle ones is a median; the authors' code takes the lower one, which must do equally well and is tried, too.)

# %%
lower = np.sort(tiles, axis=0)[(len(tiles) - 1) // 2]
rounds, cases = pick(scale, smoke=(4, 5), laptop=(40, 40))
decrease = max(
    referees.gain_of_nudges(rng, median, summed, rounds),
    to_median - summed(lower)[0],
    referees.gain_over_median(rng, cases),
)
ledger.record("p01_lower_median_gap", abs(to_median - summed(lower)[0]), below=1e-9)
ledger.proof(
    "fca-19",
    worst_error=decrease,
    tolerance=1e-9,
    why="largest decrease that sorted perturbations, a linear program or all sorted "
    "integer references achieve",
)

# %% [markdown]
# ## Off the line: entropic plans
# Features are rarely one number, and in more dimensions there is nothing to sort. Given a cost $C_{ij}$ for moving point $i$ to point $j$, and weights
# $a_i$, $b_j$, a *plan* $P_{ij} \ge 0$ says how much moves where. Adding entropy makes the problem smooth and its solution quick (Cuturi, 2013):
#
# $$ \min_{P \mathbf 1 = a,\; P^\top \mathbf 1 = b} \; \sum_{ij} P_{ij} C_{ij} + \varepsilon \sum_{ij} P_{ij} (\log P_{ij} - 1), $$
#
# solved by rescaling rows and columns in turn until both sums fit, as $P = \mathrm{diag}(u)\, e^{-C/\varepsilon}\, \mathrm{diag}(v)$. The blur
# $\varepsilon$ is in units of cost, here squared difference of grey values. To see what it does, we stay on the line, where the answer is
# known: 12 pixels of brick against 17 of grass, both sorted, so that the exact plan is a staircase. Look at it drown as $\varepsilon$ grows.

# %%
grass = data.grass() / 255.0
source = np.sort(rng.choice(brick.ravel(), 12))
target = np.sort(rng.choice(grass.ravel(), 17))
cost = (source[:, None] - target) ** 2
staircase = ot.emd([], [], cost)
exact_value = float((staircase * cost).sum())
shown = [1e-4, 1e-3, 1e-2, 1e-1]
plans = {eps: sinkhorn(cost, eps, max_iter=20_000, tol=1e-8) for eps in shown}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 5, figsize=(plotting.WIDTH, 1.9), layout="constrained")
named = {"exact (POT)": staircase} | {f"ε = {e:g}": p.plan for e, p in plans.items()}  # fmt: skip
for ax, (title, plan) in zip(axes, named.items(), strict=True):
    root = torch.as_tensor(plan).sqrt()
    plotting.draw(ax, root, title, vmin=0, vmax=np.sqrt(staircase.max()))
    ax.set_xlabel("17 grass pixels")
axes[0].set_ylabel("12 brick pixels")
plotting.show(fig, alt="Five heat maps of a 12 by 17 plan: the exact staircase, then entropic plans with growing epsilon, from an almost identical staircase through a blurred diagonal to a nearly uniform plan.")  # fmt: skip

# %% [markdown]
# The same in numbers, with two referees: POT's own Sinkhorn for the plan, its linear program for the limit. Watch three columns: the value, which comes down to the exact one only as
# $\varepsilon$ vanishes; the *partners*, $e^{H(P)} / 12$ with $H$ the entropy, the number of pixels that one pixel effectively shares itself among; and the iterations, the price.


# %%
def evidence_for(eps):
    ours = sinkhorn(cost, eps, max_iter=20_000, tol=1e-8)
    options = {"method": "sinkhorn_log", "numItermax": 20_000, "stopThr": 1e-9}
    pot = torch.from_numpy(ot.sinkhorn([], [], cost, eps, **options))
    entropy = float(torch.special.entr(ours.plan).sum())
    return {
        "ε": f"{eps:g}",
        "value": float(ours.value),
        "above exact": float(ours.value) - exact_value,
        "partners": np.exp(entropy) / len(source),
        "iterations": ours.n_iter,
        "error after 100": sinkhorn(cost, eps, tol=0).marginal_error,
        "gap to POT's plan": float((ours.plan - pot).abs().max()),
    }


several = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0]
evidence = pd.DataFrame(map(evidence_for, pick(scale, smoke=[1e-3, 1e-1], laptop=several)))  # fmt: skip

# %%
iterations, gaps = evidence["iterations"].tolist(), evidence["gap to POT's plan"]
ledger.record("p01_exact_value", exact_value)
ledger.record("p01_sinkhorn_values", evidence["value"].tolist())
ledger.record("p01_sinkhorn_iterations", iterations, tolerance=0.02)
ledger.record("p01_sinkhorn_pot_gap", gaps.max(), below=1e-6)
formats = dict.fromkeys(("error after 100", "gap to POT's plan"), "{:.0e}")
formats |= {"value": "{:.6f}", "above exact": "{:.1e}", "partners": "{:.2f}"}
caption = "Transport of 12 brick to 17 grass pixels, to a marginal error of 1e-8"
plotting.table(evidence, caption=caption, formats=formats)

# %% tags=["remove-input"]
ledger.say("The exact cost is {p01_exact_value:.6f}. Our plans and POT's differ by at most {p01_sinkhorn_pot_gap:.0e}.")  # fmt: skip

# %% [markdown]
# An iteration count is a choice, and papers often fix it (100 is popular). What that buys depends on $\varepsilon$: look at how far the curves have
# come when they cross the dotted line. `sinkhorn` therefore returns its evidence, the marginal error and a flag, with every plan; nothing is silenced.

# %%
longest = pick(scale, smoke=2.3, laptop=3.3)
counts = np.unique(np.logspace(0, longest, 25).astype(int)).tolist()
left_over = {
    eps: [sinkhorn(cost, eps, max_iter=n, tol=0).marginal_error for n in counts]
    for eps in shown
}

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for eps, found in left_over.items():
    ax.loglog(counts, np.maximum(found, 1e-16), label=f"ε = {eps:g}")
ax.axvline(100, color="black", ls=":")
ax.set(xlabel="iterations", ylabel="marginal error (L¹)", ylim=(1e-17, 3))
ax.legend()
plotting.show(fig, alt="Marginal error against iterations on logarithmic axes for four values of epsilon. Large epsilon reaches rounding within tens of iterations; the smallest is still far from feasible after a hundred.")  # fmt: skip

# %% [markdown]
# ### Why exponents
# The textbook iteration multiplies by $K = e^{-C/\varepsilon}$. In single precision $e^{-104}$ is zero, and a row of zeros cannot be rescaled to anything. `sinkhorn` moves what the
# scalings have grown to back into the exponent, before they grow large, and only then takes $e$ to it. The loop below is the textbook, in three lines; look for the first `nan`.


# %%
def textbook(cost, eps, n_iter):
    kernel = torch.exp(-torch.as_tensor(cost, dtype=torch.float32) / eps)
    v = torch.ones(kernel.shape[1])
    for _ in range(n_iter):
        u = 1 / len(kernel) / (kernel @ v)
        v = 1 / kernel.shape[1] / (kernel.T @ u)
    return float((u[:, None] * kernel * v * torch.as_tensor(cost)).sum())


rows = {}
for eps in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
    stable = sinkhorn(cost.astype(np.float32), eps, max_iter=500, tol=0)
    rows[f"{eps:g}"] = {
        "textbook, float32": f"{textbook(cost, eps, 500):.6f}",
        "stabilised, float32": f"{float(stable.value):.6f}",
        "marginal error": f"{stable.marginal_error:.0e}",
    }
fails_from = next(e for e, r in rows.items() if r["textbook, float32"] == "nan")
ledger.record("p01_textbook_fails_from", fails_from)
caption = "The cost after 500 iterations, without and with room for exponents"
plotting.table(pd.DataFrame(rows).T.rename_axis(columns="ε"), caption=caption)

# %% [markdown]
# ## Hard plans
# TTAD adapts a network at test time by pulling test patches towards a memory of normal ones along a Sinkhorn plan. It has a scruple: a plan must move *all*
# mass, so an anomalous test patch is pulled towards normality like everyone else. Its remedy (Section 3.4, Equation 6) is to keep only the largest entries,
#
# $$ \pi_{ij} = 1 \text{ if } P_{ij} \text{ is the largest of its row } i \text{ or of its column } j, \text{ else } 0. $$
#
# To see what remains, three of the 17 target pixels are made anomalous (bright as no brick). Look at the
# last three columns: the soft plan must give them their share; the hard plan leaves each a few partners.

# %%
odd = np.concatenate([target[:-3], [1.1, 1.3, 1.5]])
odd_cost = (source[:, None] - odd) ** 2
soft = sinkhorn(odd_cost, 0.01, max_iter=20_000).plan
hard = hard_plan(soft)
ledger.record("p01_soft_share", float(soft[:, -3:].sum() / soft.sum()))
ledger.record("p01_hard_share", float(hard[:, -3:].sum() / hard.sum()))
ledger.record("p01_hard_fewest_partners", int(hard.sum(0).min()))

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
named = {"Sinkhorn plan, ε = 0.01": soft.sqrt(), "hard plan, Eq. 6": hard}
for ax, (title, plan) in zip(axes, named.items(), strict=True):
    plotting.draw(ax, plan, title)
    ax.axvline(13.5, color=plotting.COLORS[5], lw=1.5)
    ax.set_xlabel("17 target pixels, the last 3 anomalous")
axes[0].set_ylabel("12 source pixels")
plotting.show(fig, alt="Left, a blurred diagonal plan; right, its 0/1 version, where each row and each column keeps its largest entry. The last three columns, the anomalous pixels, keep entries in both.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("The three anomalies hold {p01_soft_share:.1%} of the soft plan and {p01_hard_share:.1%} of the hard one. The *or* in Eq. 6 means that no column goes empty-handed (the fewest partners here: {p01_hard_fewest_partners}): the rule thins the pull on an anomaly out, it cannot cut it. TTAD's chapter measures how much that matters.")  # fmt: skip

# %% [markdown]
# ## What it costs
# Sorting is $O(n \log n)$, a Sinkhorn iteration $O(nm)$, the linear program worse than either. The plan alone takes $8nm$ bytes in double precision; the sorted errors take $8n$.


# %% tags=["timing"]
def timed(n):
    x, y = rng.normal(size=n), np.sort(rng.normal(size=n))
    c = np.abs(x[:, None] - y)
    work = {
        "sorted, errors sent back": lambda: matching_errors(x, y),
        "POT, 1-D": lambda: ot.emd2_1d(x, y, metric="euclidean"),
        "Sinkhorn, 100 iterations": lambda: sinkhorn(c, 0.1, tol=0),
        "POT, linear program": lambda: ot.emd2([], [], c),
    }
    spent = {name: seconds(f, repeats=1) for name, f in work.items()}
    return {"points": n, **spent, "plan (MiB)": c.nbytes / 2**20}


costs = [timed(n) for n in pick(scale, smoke=(100, 200), laptop=(100, 300, 1000))]
costs = pd.DataFrame(costs)
ledger.record("p01_seconds", costs.iloc[-1].to_dict(), timing=True)
plotting.table(costs, "Seconds for one problem", formats="{:.5f}", timing=True)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("Is FCA's error a Wasserstein distance, and is the median the nearest reference? Computed in {p01_identity_cases:,} cases, the identity is off by {p01_identity_worst:.0e} at most, which is rounding; {p01_tiles} tiles of one picture are {p01_sum_median:.2f} from the median all together, and {p01_sum_mean:.2f} from the mean.", short=True)  # fmt: skip

# %% [markdown]
# ## Exercise
# Replace $|\cdot|$ by squares: which single reference minimises $\sum_P W_2^2(P, r)$, with $W_2^2 = \frac1n \sum_i (v_{(i)} - r_{(i)})^2$? Is it still
# sorted? Test your answer on the brick tiles: start from it, and from the median, and see which of the two a small sorted perturbation can improve.

# %% [markdown]
# ### Solution
# Each rank still minds its own business, and a sum of squares is smallest at the mean: the per-rank mean (a *Wasserstein
# barycentre*), sorted because an average of sorted lists is. It can be improved in the one sense and not in the other.


# %% tags=["hide-input"]
def summed_squares(references):
    return ((tiles[:, None] - np.atleast_2d(references)) ** 2).mean(-1).sum(0)


nudges, rows = np.sort(1e-3 * rng.normal(size=(100, side**2)), axis=1), {}
for name, start in (("median", median), ("mean", mean)):
    towards = [start + 0.1 * (mean - start), start + 0.1 * (median - start)]
    nearby = np.sort(np.concatenate([start + nudges, towards]), axis=1)
    rows[name] = {
        f"{label} improves by": max(0.0, f(start)[0] - f(nearby).min())
        for label, f in (("Σ W₁", summed), ("Σ W₂²", summed_squares))
    }
caption = "The best of 100 sorted nudges and a step towards the other reference"
plotting.table(pd.DataFrame(rows).T.rename_axis(columns="start"), caption, formats="{:.5f}")  # fmt: skip
