# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FCA: what the orders promise, what the clock says
#
# The paper's Table 5 says how the cost of each method grows. Growth can be measured, so here are the measured exponents, and for each that is off, the line of code that is to blame.
#
# *High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence Analysis*, Section 5, Table 5. No claim is judged on this page; those about run times (fca-05, -07, -15, -16) belong to the page on references. Everything below depends on a clock: expect the second digit to change from run to run, and more than that on another machine.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"

# %% tags=["hide-input"]
from math import log

import numpy as np
import pandas as pd
import torch

from otad import ledger, plotting
from otad.methods.matching.fca import patch_weights
from otad.methods.matching.ranks import matched_map
from otad.scale import pick
from otad.studies import clocks, gpu_clock

torch.set_num_threads(1)

# %% [markdown]
# ## The orders, as printed
# $N$ is the number of pixels of the feature map, $T$ the side of a patch, $C$ the number of channels, $B$ the number of bins of the histogram. Each order is written as a function, because we shall need its *slope*: in a plot with logarithmic axes a power $x^p$ is a line of slope $p$, while $T^2 \log T$ is no line at all and a bit steeper than 2.

# %%
ORDERS = {
    "moments": lambda N, T, C, B: N * T * C,
    "histogram": lambda N, T, C, B: N * T * C * B,
    "Aota": lambda N, T, C, B: N * T * C + N**2 * C,
    "FCA": lambda N, T, C, B: N * T**2 * log(T) * C,
    "FCA + KNN": lambda N, T, C, B: N**2 * T**2 * log(T) * C,
}
IN_PRINT = {
    "moments": "N T C",
    "histogram": "N T C B",
    "Aota": "N T C + N² C",
    "FCA": "N T² log(T) C",
    "FCA + KNN": "N² T² log(T) C",
}
ROUTES = {"320": (40**2, 3, 512, 10), "1024": (128**2, 9, 512, 10)}

# %%
bills = {
    f"FCA = 1, at {route}²": {
        name: order(*sizes) / ORDERS["FCA"](*sizes)
        for name, order in ORDERS.items()
    }
    for route, sizes in ROUTES.items()
}
for route, bill in zip(ROUTES, bills.values(), strict=True):
    ledger.record(f"p15_aota_in_print_{route}", bill["Aota"])
plotting.table(
    pd.DataFrame({"order": IN_PRINT, **bills}).rename_axis(None),
    caption="Table 5 as printed, and each order put into numbers at the paper's two "
    "settings: stride 8, 512 channels, T = 3 at 320², T = 9 at 1024²; 10 bins",
    formats="{:,.2f}",
    shows=["fca Table 5"],
)

# %% tags=["remove-input"]
ledger.say("Before any clock has run, the table says something its page does not. The text introduces it with the remark that FCA has the higher complexity. Against moments and histograms, yes. Against Aota's method, the one it competes with, the printed orders say the reverse: Aota's square of $N$ is worth {p15_aota_in_print_320:.0f} times FCA's whole bill at $320^2$ and {p15_aota_in_print_1024:.0f} times at $1024^2$. Orders hide constants, of course. How large are they?")  # fmt: skip

# %% [markdown]
# ## The clock
# One thread, and *processor* time: what other programs do meanwhile does not count. A short call is repeated until 15 milliseconds have passed. Features are noise, the same for every method. Moments are the first alone. The neighbours of KNN are a quarter of all locations, $K = N/4$, as in the paper. The plain version of FCA, in PyTorch, sorts every patch as the paper has it. The package has a compiled version as well, the *kernel*, which does not sort; it runs in a row of its own and is explained below.
#
# What is swept, and what stands still meanwhile, is `clocks.SWEEPS`: each method has sizes of its own, so that the largest takes a fraction of a second and the smallest is not all overhead.

# %%
LEAST = pick(scale, smoke=0.0, laptop=0.015)  # seconds
rounds = pick(scale, smoke=2, laptop=5)
METHODS = clocks.METHODS
ORDERS["FCA, kernel"] = lambda N, T, C, B: N * T**2 * C
IN_PRINT["FCA, kernel"] = "ours: N T² C"


def fca(f, T, reference="median", engine="plain"):
    """The clock's FCA: Eq. 6 with σ_p = 3 and σ_s = 1."""
    weights = patch_weights(T, 3.0, 1.0)
    return matched_map(f, weights, reference=reference, engine=engine)


# %% [markdown]
# Five rounds, in each of them every sweep once. A slope is fitted to each round by least squares in the logarithms, and the interval is Student's over the rounds: it knows the jitter of the clock, not the bend of the curve. For the bend there is the *last step*: the slope between the two largest sizes, each at its best round. Where it differs from the fit, the order has not been reached yet.

# %% tags=["timing"]
table, curves = [], {}
times = clocks.swept(scale, rounds, LEAST)
for (variable, method), part in times.groupby(["in", "method"], sort=False):
    y = part.pivot_table(index=variable, columns="round", values="seconds")
    x, best = y.index.to_numpy(float), y.min(axis=1).to_numpy()
    sizes = part.drop_duplicates(variable).fillna({"B": 10}).sort_values(variable)
    promised = [ORDERS[method](*s) for s in sizes[["N", "T", "C", "B"]].to_numpy()]
    curves[variable, method] = x, best, np.array(promised)
    mean, low, high = ledger.t_interval([plotting.slope(x, y[r]) for r in y])
    last, order = plotting.slope(x[-2:], best[-2:]), plotting.slope(x, promised)
    found = [
        f"{x[0]:.0f} to {x[-1]:.0f}",
        order,
        f"{mean:.2f} [{low:.2f}, {high:.2f}]",
    ]
    table.append(
        [method, IN_PRINT[method], variable, *found, last, 1000 * best[-1]]
    )
    key = f"p15_{method.replace(' + ', '_').replace(', ', '_').lower()}_{variable}"
    ledger.record(key, mean, timing=True, bounds=(-1.5, order + 2))
    ledger.record(f"{key}_last", last, timing=True, bounds=(-8, 8))

# %% tags=["timing", "hide-input"]
names = ["method", "order", "in", "sizes", "slope of the order", "slope measured, 95 %", "last step", "largest, ms"]  # fmt: skip
table = pd.DataFrame(table, columns=names)
table = table.sort_values("method", key=lambda c: c.map(list(METHODS).index), kind="stable")  # fmt: skip
plotting.table(
    table.reset_index(drop=True),
    caption=f"Exponents: what Table 5 promises over the sizes swept, and what was measured ({rounds} rounds, one thread)",
    formats=dict.fromkeys(names[4::2], "{:.2f}") | {"largest, ms": "{:.1f}"},
    shows=["fca Table 5"],
    timing=True,
)

# %% [markdown]
# The same as pictures. Each method has sizes of its own, so compare slopes and not heights. Points are measured, lines are the fits, dotted lines the printed order through the last point. A point above its dotted line, at the left, is constant cost; a fit flatter than the dotted line means that most of the time goes into something else than what the order counts.

# %% tags=["timing"]
AXES = {"N": "N, pixels of the map", "T": "T, side of a patch"}
AXES |= {"C": "C, channels", "K": "K, neighbours"}
panels = {
    label: {m: curves[axis, m] for m in METHODS if (axis, m) in curves}
    for axis, label in AXES.items()
}
plotting.growth(panels, "ms a map", shows=["fca Table 5"])

# %% [markdown]
# ## In $N$: where the order holds
# Three methods are promised to be linear in $N$, and two quadratic. Nothing on this page is better behaved.

# %% tags=["remove-input", "timing"]
ledger.say("FCA grows with $N^{{{p15_fca_N:.2f}}}$ where 1 is promised, FCA + KNN with $N^{{{p15_fca_knn_N:.2f}}}$ where 2 is, Aota's method with $N^{{{p15_aota_N:.2f}}}$ for 2, moments with $N^{{{p15_moments_N:.2f}}}$ and the histogram with $N^{{{p15_histogram_N:.2f}}}$ for 1. *Below* the promise stands the constant cost of a call, spread over few pixels; the last steps ({p15_fca_N_last:.2f}, {p15_fca_knn_N_last:.2f}, {p15_aota_N_last:.2f}, {p15_moments_N_last:.2f}, {p15_histogram_N_last:.2f}, in the same order) have left it behind. *Above* it stands the memory: where a map outgrows the cache, and memory is asked of the operating system anew at each call, time jumps by more than the pixels do. No order knows of caches.")  # fmt: skip

# %% [markdown]
# ## In $T$: three different reasons
# **Moments and histogram** owe their single $T$ to separable Gaussian weights: a row of $T$, then a column of $T$. The clock gives them less than that. The two passes are the only part that grows; powers, votes, padding and averages touch every pixel once whatever $T$ is. Fitting *constant + proportional* instead of a power tells how much stands still.


# %% tags=["timing"]
def standing(x, y, order):
    """Share of the time at the sweep's middle that does not grow with the order."""
    design = np.stack([np.ones_like(y), order / order.max()], axis=1)
    constant, growing = np.linalg.lstsq(design / y[:, None], np.ones_like(y))[0]
    total = constant + growing * order[len(order) // 2] / order.max()
    return float(np.clip(constant / total, 0, 1))


for method in ("moments", "histogram"):
    still = standing(*curves["T", method])
    ledger.record(f"p15_{method}_standing", still, timing=True, bounds=(0, 1))

# %% tags=["remove-input", "timing"]
ledger.say("At the middle of the sweep, $T = 9$, {p15_moments_standing:.0%} of the moments' time and {p15_histogram_standing:.0%} of the histogram's do not depend on $T$ at all. That is why {p15_moments_T:.2f} and {p15_histogram_T:.2f} were measured where 1 is promised.")  # fmt: skip
ledger.say("**Aota's method** has a $T$ in print as well, and {p15_aota_T:.2f} on the clock. This one is arithmetic: its order is $C\\,(NT + N^2)$, so $T$ would have to be as large as $N$ to be seen. It could be left out. (It is also optimistic: our local mean is an ordinary pooling, which adds up $T^2$ values, and far beyond the paper's patches one can see it: {p15_aota_T_last:.2f} in the last step.)")  # fmt: skip

# %% [markdown]
# **FCA** sorts $T^2$ values, which costs $T^2 \log T$. That is the printed order, but a sort is not all there is. Here are the parts of one map by themselves, for one channel: the sort; the look-up, which subtracts the reference and puts the errors back where they came from, $T^2$ without a logarithm; and a step that nobody counts: the errors of a patch are smoothed and weighted, which is one product with a matrix of $T^2 \times T^2$, so $T^4$ a patch. (The two Gaussians of Eq. 6 would be separable; the reflection at the patch's edge and the weights in between make it one matrix.) The last can wait until the errors of several channels are added up.

# %% tags=["timing"]
sides = pick(scale, smoke=(3, 5), laptop=clocks.ODD)
steps = pd.DataFrame({T: clocks.steps_of_fca(T, rounds, LEAST) for T in sides}).T
x = np.array(sides, dtype=float)
formula = {"sort": x**2 * np.log(x), "look-up": x**2, "weights": x**4}
for part, y in steps.items():
    word = f"p15_part_{part.replace('-', '')}"
    ledger.record(word, plotting.slope(x, y), timing=True, bounds=(-2, 7))
middle = 9 if 9 in sides else sides[-1]
for word, T in {"small": sides[0], "middle": middle, "large": sides[-1]}.items():
    ratio = steps.loc[T, "weights"] / steps.loc[T, "sort"]
    ledger.record(f"p15_weights_{word}", ratio, timing=True, bounds=(0, 200))

# %% tags=["timing", "hide-input"]
lines = {part: (x, y.to_numpy(), formula[part]) for part, y in steps.items()}
plotting.growth({"T, side of a patch": lines}, "ms a channel")

# %% tags=["remove-input", "timing"]
ledger.say("Alone, the sort has slope {p15_part_sort:.2f}, the look-up {p15_part_lookup:.2f}, the weights {p15_part_weights:.2f}; the whole of FCA, {p15_fca_T:.2f}, is a mixture of the first two. The $T^4$ costs {p15_weights_small:.2f} times a channel's sort at the smallest patch, {p15_weights_middle:.2f} times at the paper's $T = 9$ and {p15_weights_large:.2f} times at the largest: matrix products are what processors do best. Leaving it out of Table 5 was fair.")  # fmt: skip

# %% [markdown]
# **Without a sort.** A rank is a count: the number of values in the window below this one. Neighbouring windows share their comparisons: the $(2T-1)^2$ comparisons of a pixel with its surroundings serve all $T^2$ windows that hold it, and running sums turn them into $T^2$ ranks. That is $N T^2 C$ and no logarithm, in steps so simple that a processor does many at once. This is the kernel.

# %% tags=["timing"]
n, C = pick(scale, smoke=(12, 4), laptop=(40, 64))
T, f = pick(scale, smoke=3, laptop=9), clocks.noise(n, C)
pair = [
    clocks.seconds(lambda e=engine: fca(f, T, engine=e), LEAST, rounds)
    for engine in ("plain", "kernel")
]
ledger.record(
    "p15_kernel_gain", pair[0] / pair[1], timing=True, bounds=(0.01, 1000)
)

# %% tags=["remove-input", "timing"]
ledger.say("Measured: $T^{{{p15_fca_kernel_T:.2f}}}$, $N^{{{p15_fca_kernel_N:.2f}}}$ ({p15_fca_kernel_N_last:.2f} in the last step; small maps do not fill its blocks), $C^{{{p15_fca_kernel_C:.2f}}}$; and {p15_kernel_gain:.0f} times faster than the plain version on one thread, " f"at $T = {T}$ with {C} channels on ${n} \\times {n}$. Next to the constant, the logarithm was never the point.")  # fmt: skip

# %% [markdown]
# **FCA + KNN** is promised the same $T^2 \log T$, times $N^2$. Take the definition literally and it is right: a sort for each of $N^2$ pairs of patches. Nobody needs to do that. The patches are sorted once, that is $N$ sorts; what is done $N^2$ times is the look-up, without a logarithm, and the weights. Its order here is $N T^2 \log(T)\, C + N^2 T^2 C + N^2 T^4$.

# %% tags=["remove-input", "timing"]
ledger.say("So the logarithm goes: {p15_fca_knn_T:.2f} was measured in $T$, and {p15_fca_knn_T_last:.2f} in the last step. What pulls it down at the left end is a constant: every reference is a call of its own with fixed costs, which small patches cannot fill.")  # fmt: skip

# %% [markdown]
# ## In $C$: what is done once
# Every order is linear in $C$. What falls short of it has a part that never sees the channels. In Aota's method that is the selection: of $N$ distances at each of $N$ locations the $K$ smallest are wanted. That costs $N^2$ *without* $C$, and is missing in the printed order. Distances and selection apart, against the number of channels:

# %% tags=["timing"]
channels = pick(scale, smoke=(8, 16), laptop=(16, 64, 256, 512))
side = pick(scale, smoke=12, laptop=40)
apart = {C: clocks.steps_of_aota(side, C, rounds, LEAST) for C in channels}
apart = 1000 * pd.DataFrame(apart).T.rename_axis("C")
apart["selection's share"] = apart["selection"] / apart.sum(axis=1)
for word, C in {"few": channels[0], "many": channels[-1]}.items():
    share = apart.loc[C, "selection's share"]
    ledger.record(f"p15_selection_{word}", share, timing=True, bounds=(0, 1))
plotting.table(
    apart,
    caption=f"Aota's method on {side} × {side} locations: milliseconds for the "
    "distances and for the selection of K = N/4",
    formats={
        "distances": "{:.1f}",
        "selection": "{:.1f}",
        "selection's share": "{:.0%}",
    },
    timing=True,
)

# %% tags=["remove-input", "timing"]
ledger.say("With the fewest channels {p15_selection_few:.0%} of the time is selection, with the paper's 512 still {p15_selection_many:.0%}: hence the slope of {p15_aota_C:.2f} over the range and {p15_aota_C_last:.2f} in its last step. FCA stands at {p15_fca_C:.2f} and {p15_fca_C_last:.2f}, moments at {p15_moments_C:.2f} and {p15_moments_C_last:.2f}, the histogram at {p15_histogram_C:.2f} and {p15_histogram_C_last:.2f}.")  # fmt: skip

# %% [markdown]
# ## In $K$ and $B$
# Table 5 has no $K$: the paper uses brute force, where every pair is compared before any neighbour is known. So the promised exponent is 0. The histogram's $B$ is promised 1: a bin is one more map to smooth.

# %% tags=["remove-input", "timing"]
ledger.say("Measured in $K$: {p15_aota_K:.2f} for Aota's method and {p15_fca_knn_K:.2f} for FCA + KNN. What there is comes from the selection. Measured in $B$: {p15_histogram_B:.2f}, and {p15_histogram_B_last:.2f} in the last step.")  # fmt: skip

# %% [markdown]
# ## Constants: who is cheaper, and from where on
# Back to the question of the first table. Same map, same channels, $T$ as in the paper for the small map, and $N$ grows. Below 1, FCA is the cheaper of the two. And KNN against one median: the orders promise a ratio of $N$.

# %% tags=["timing"]
C, T = 32, 3
sides = pick(scale, smoke=(8, 12), laptop=(16, 24, 32, 48, 64))
small = pick(scale, smoke=12, laptop=24)  # KNN takes too long beyond
names = ("FCA", "FCA, kernel", "Aota", "FCA + KNN")
duel = {
    n * n: clocks.duel(n, C, T, names[: 4 if n <= small else 3], LEAST)
    for n in sides
}
duel = pd.DataFrame(duel).T.rename_axis("N")
shown = (1000 * duel).add_suffix(", ms")
shown["FCA / Aota"] = ratio = duel["FCA"] / duel["Aota"]
shown["FCA + KNN / FCA"] = duel["FCA + KNN"] / duel["FCA"]
plotting.table(
    shown,
    caption=f"Milliseconds a map and ratios; C = {C}, T = {T}, one thread",
    formats={column: "{:.2f}" if " / " in column else "{:.1f}" for column in shown},
    timing=True,
)

# %% tags=["timing"]
line = np.polyfit(np.log(duel.index.to_numpy(float)), np.log(ratio.to_numpy()), 1)
meeting = float(np.exp(np.clip(-line[1] / line[0], 0, 25)))
product = apart["distances"].iloc[-1] / 1000 / (side**4 * channels[-1])
price = steps.loc[middle, "sort"] / (40**2 * middle**2) / product
knn = shown["FCA + KNN / FCA"].dropna()
cheaper = duel.index[duel["FCA, kernel"] < duel["Aota"]]
first = int(cheaper[0]) if len(cheaper) else int(duel.index[-1])
ledger.record("p15_meeting", meeting, timing=True, bounds=(0, 1e11))
ledger.record("p15_duel_last", ratio.iloc[-1], timing=True, bounds=(0, 100))
ledger.record("p15_price", price, timing=True, bounds=(0.01, 1e5))
ledger.record("p15_knn_ratio", knn.iloc[-1], timing=True, bounds=(1, 1e5))
ledger.record("p15_knn_ratio_n", int(knn.index[-1]))
ledger.record("p15_duel_n", int(duel.index[-1]))
ledger.record("p15_duel_kernel", first, timing=True, bounds=(1, 1e6))

# %% tags=["remove-input", "timing"]
ledger.say("The constants turn the printed ratio around on small maps: the line through the ratios passes 1 near $N = {p15_meeting:.0f}$. To sort one value takes as long as {p15_price:.0f} multiplications inside a matrix product. Beyond that point the square wins, as it must: at $N = {p15_duel_n}$ FCA takes {p15_duel_last:.2f} of Aota's time. (With the kernel FCA is the cheaper one from $N = {p15_duel_kernel}$ on.) FCA + KNN costs {p15_knn_ratio:.0f} times FCA at $N = {p15_knn_ratio_n}$, where the printed orders promise {p15_knn_ratio_n}: a reference costs a look-up, not a sort.")  # fmt: skip

# %% [markdown]
# ### On a graphics card
# A card has thousands of threads, and its own kernel (`otad.kernels.rank_gpu`): the rank of a pixel in each of the windows that hold it is a sum of comparisons, and all these sums are one matrix product. Page 12 says where these stored times are from; maps are those of the paper's pictures of 320 and 1024 pixels and of its Table 2. Look at the gain over sorting on the same card.

# %%
kernels = gpu_clock.kernels(ledger.stored("gpu_clock").value)
forms = dict.fromkeys(["ms", "ties in raster order, ms"], "{:.1f}") | dict.fromkeys(["sorted on the card", "one thread"], "{:.0f} ×") | {"off": "{:.0e}"}  # fmt: skip
plotting.table(kernels, "FCA's map, median reference, on an H200: milliseconds of the kernel, how many times as long the plain version and the kernel of one processor thread take, and how far off the kernel is (largest error by largest value)", formats=forms)  # fmt: skip
saved = kernels["sorted on the card"]
ledger.record("p15_card", {f"T{T}": v for T, v in saved.items()})

# %% tags=["remove-input"]
ledger.say("Sorting takes {p15_card[T3]:.0f}, {p15_card[T9]:.0f} and {p15_card[T25]:.0f} times as long as the kernel at T = 3, 9 and 25. Each value is compared with its $(2T-1)^2$ neighbours, and the product with $T^2$ windows makes of the order of $N T^4$ additions of it, for which a card is built; from T = 9 to 25 that outgrows the sort's $T^2 \\log T$.")  # fmt: skip

# %% [markdown]
# ## Paper against code
# | | Table 5 | what a program does |
# |---|---|---|
# | Aota's method | $N T C + N^2 C$ | the first term cannot be seen; $N^2$ without $C$ for the selection is missing |
# | FCA | $N T^2 \log(T)\, C$ | the same, and $N T^4$ for the weights, once for all channels or for each block of them |
# | FCA + KNN | $N^2 T^2 \log(T)\, C$ | $N T^2 \log(T)\, C + N^2 T^2 C + N^2 T^4$ |
# | the sort | inside FCA's order | not needed: a rank is a number of comparisons, which neighbouring windows share, so $N T^2 C$ will do (page 16 lists more differences) |
#
# Nothing here contradicts the paper: an order is an upper bound up to constants, and with the paper's 512 channels all of these are. It is the bound that is of little use at $T = 3$ or 9, where $\log T$ is 1 or 2 and a constant is worth ten.

# %% [markdown]
# ## What we found

# %% tags=["remove-input", "timing"]
ledger.say("Does the cost grow as the paper's Table 5 says? Here time grows with the number of pixels to the power {p15_fca_N:.1f} for FCA (printed: 1), {p15_fca_knn_N:.1f} with KNN references (2) and {p15_aota_N:.1f} for Aota's method (2), and with the patch's side to the power {p15_fca_T:.1f} for FCA (2, and a logarithm).", short=True)  # fmt: skip

# %% [markdown]
# ## Exercise
# The shortcut of page 12 computes the sum over *all* $N$ references exactly: sort the $N$ values of each channel and rank once, keep their prefix sums, look up. Write down its order in $N$ and in $T$, then measure: which slopes do you expect between the sizes of the sweep, and is the logarithm visible?

# %% [markdown]
# ### Solution
# $C N T^2 \log N$ on top of FCA's own $C N T^2 \log T$: the slope in $N$ is $1 + 1/\ln N$, a tenth above 1, which this clock can just about tell from 1; in $T$ it is 2 for the new part. Compare the last column with the price of a plain loop over the references, $N$ times FCA.

# %% tags=["timing", "hide-input"]
found, T = {}, pick(scale, smoke=3, laptop=9)
for n in pick(scale, smoke=(8, 12), laptop=(16, 24, 32, 48)):
    f = clocks.noise(n, 4)
    found[n * n] = {
        f"{r}, ms": 1000
        * clocks.seconds(lambda f=f, r=r: fca(f, T, r), LEAST, rounds)
        for r in ("all", "median")
    }
found = pd.DataFrame(found).T.rename_axis("N")
found["ratio"] = found["all, ms"] / found["median, ms"]
x = found.index.to_numpy(float)
plotting.table(
    found,
    caption=f"All references against one: slopes in N {plotting.slope(x, found['all, ms']):.2f} and {plotting.slope(x, found['median, ms']):.2f}; 1 + 1/ln N is {1 + 1 / np.log(x.mean()):.2f}",
    formats="{:.1f}",
    timing=True,
)
