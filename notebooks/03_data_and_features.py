# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Data and features
#
# *Look at the data first, then at what a network makes of it: after this page you know what every image of this book shows, what each feature can see, and how far it looks.*
#
# All five papers start from feature maps; the choice is discussed in FCA, Sec. 3.1 (colours, random kernels, steerable filters, shallow network layers).
# No claim is tested here. This page lays out the material that the other pages use, and takes two of our own data sets to task before anybody else does.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names

# %% tags=["hide-input"]
import tempfile
from functools import partial
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, metrics, plotting
from otad.data.drawn import defects, textures
from otad.data.readers import folders
from otad.data.packaged import photographs, solar
from otad.data.readers.locations import location
from otad.features import handcrafted
from otad.features.pretrained import efficientnet_lite0
from otad.machine import seconds
from otad.methods.nearest import nearest
from otad.scale import device, pick
from otad.studies.sight import STRIDES, pca_rgb, reactions, remember, square_with, stages, views  # fmt: skip

if scale == "paper":
    MVTEC = location("mvtec_ad", data_folder)

# %% [markdown]
# ## Five materials that never existed
#
# The first data set is drawn, not photographed: carpet, grid, leather, tile and wood in the spirit of MVTec AD's five textures. Each is a bit of geometry, lit from the
# upper left, seen by a camera with uneven light and noise. Look for what changes from image to image: phase, rotation, period, tint, light, and every thread and chip.

# %%
size = pick(scale, smoke=64, laptop=192)
names = pick(scale, smoke=("grid", "wood"), laptop=textures.NAMES)
good = [textures.render(name, size, [seed, i]) for i in range(2) for name in names]

# %% tags=["hide-input"]
fig = plotting.gallery(torch.stack(good), [*names, *[""] * len(names)], len(names))
plotting.show(fig, alt="Two rows of five procedural textures without defects: knitted grey carpet, woven wire grid, brown leather, speckled tile, striped wood. The two images of each column differ in position, tint and detail.")  # fmt: skip

# %% [markdown]
# Why draw textures when there are photographs? Because we then own both worlds: the image with the defect and **the same image without it**. Six kinds of
# defect can be planted on any image. Their size is relative to the image, their strength varies from plain to barely there, and the outline shows the mask.

# %%
few = {"n_train": 1, "n_good": 0, "n_per_defect": 1, "seed": seed}
sets = {name: textures.load(name, size, **few) for name in names}


# %% tags=["hide-input"]
def planted(data):
    """A row of the six defects, outlined, a data set."""
    images = torch.cat([of.test for of in data.values()])
    masks = torch.cat([of.masks for of in data.values()])
    titles = [*defects.KINDS, *[""] * (len(images) - 6)]
    return plotting.gallery(images, titles, 6, masks)


plotting.show(planted(sets), alt="Five rows of textures, six columns of planted defects with their outlines: cut, hole, colour, blur, warp and contamination. Some, like a hole in wood, are plain; others, like a weak stain on leather, are hard to see.")  # fmt: skip

# %% [markdown]
# The mask of such a defect is not an annotator's guess. It is the set of pixels that the defect's shape touches, so
# outside it the two worlds must agree to the last bit, and inside nearly every pixel must differ. Does it hold?

# %%
outside, inside = [], []
for name in names:
    for i, kind in enumerate(defects.KINDS):
        before = textures.render(name, size, [seed, i])
        after, mask = defects.plant(before, kind, [seed, i])
        change = (after - before).abs().amax(0)
        outside.append(change[~mask].max())
        inside.append((change[mask] > 0).float().mean())
ledger.record("p03_change_outside_mask", float(max(outside)))
ledger.record("p03_share_changed_inside_mask", float(min(inside)), tolerance=0.02)

# %% tags=["remove-input"]
ledger.say("The largest change outside a mask is {p03_change_outside_mask:.0f}, and in the worst case {p03_share_changed_inside_mask:.1%} of the pixels inside have changed.")  # fmt: skip

# %% [markdown]
# ## Three photographs, cut up with care
#
# Real brick, grass and gravel come with scikit-image. They are three single pictures, so a careless split would test on pixels it has learnt from.
# Here one half of a picture gives the training crops (blue), the other half the test crops (orange); which half is which depends on the seed. What
# cannot be helped: crops of one half overlap, and so do crops of different seeds. **Intervals over seeds on photographs are too narrow.**

# %%
crop = pick(scale, smoke=64, laptop=160)
pictures = pick(scale, smoke=("gravel",), laptop=photographs.NAMES)
corners = {
    name: photographs.corners(name, crop, 6, 6, seed + i)
    for i, name in enumerate(pictures)
}
photos = {name: photographs.load(name, crop, **few) for name in pictures}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, len(pictures), figsize=(plotting.WIDTH, 3.1), layout="constrained", squeeze=False)  # fmt: skip
for ax, (name, drawn) in zip(axes[0], corners.items(), strict=True):
    plotting.draw(ax, photographs.picture(name), name, cmap="gray")
    for split, color in zip(drawn, plotting.COLORS, strict=False):
        for y, x in split:
            ax.add_patch(plt.Rectangle((x, y), crop, crop, fill=False, edgecolor=color, lw=1.8))  # fmt: skip
plotting.show(fig, alt="The photographs of brick, grass and gravel with the outlines of training crops in one half and of test crops in the other half. No blue square overlaps an orange one.")  # fmt: skip
plotting.show(planted(photos), alt="Three rows of grey photographs, brick, grass and gravel, with the six planted defects outlined. Stains appear as a change of brightness, because a grey-level camera sees no colour.")  # fmt: skip

# %% [markdown]
# ## Solar cells: real defects, and two traps
#
# Nobody planted the cracks in these. ELPV holds electroluminescence pictures of solar cells from 44 modules; dark means
# dead silicon. Experts judged whole cells, so there are labels but no masks. We use the cells about which they were sure.

# %%
columns = pick(scale, smoke=3, laptop=6)
cells = {c: solar.load(c, 160, 1, columns, columns, seed=seed) for c in solar.CELLS}

# %% tags=["hide-input"]
images = torch.cat([data.test for data in cells.values()])
titles = [f"{cell} {kind}" for cell, data in cells.items() for kind in data.kinds]
plotting.show(plotting.gallery(images, titles, columns), alt="Four rows of solar cells: monocrystalline good and defective, polycrystalline good and defective. Defects are cracks, dark patches and shaded edges; polycrystalline cells have dark grains even when they are good.")  # fmt: skip
ledger.say(solar.NOTICE)

# %% [markdown]
# **Trap one: the busbar gives it away.** Count normal and defective monocrystalline cells in the first part of the list, whose modules have thick busbars, and in the rest.

# %%
thick, rest = solar.index()[: solar.THICK_BARS], solar.index()[solar.THICK_BARS :]
listed = {
    "mono, thick busbars": [c for c in thick if c.cell == "mono"],
    "mono, other designs": [c for c in rest if c.cell == "mono"],
    "poly, all": [c for c in solar.index() if c.cell == "poly"],
}
certain = {"normal": 0, "defective": 1}
counts = {
    part: {
        word: sum(c.probability == p for c in some) for word, p in certain.items()
    }
    for part, some in listed.items()
}
ledger.record("p03_solar_counts", counts)
plotting.table(pd.DataFrame(counts).T, "ELPV cells with a certain label")

# %% tags=["remove-input"]
ledger.say("{p03_solar_counts[mono, thick busbars][defective]} defective cells wear a uniform that only {p03_solar_counts[mono, thick busbars][normal]} normal ones wear. A detector can reach a splendid AUROC by recognising the busbar. `solar.load` therefore leaves the thick-barred cells out, unless asked with `designs=\"all\"`.")  # fmt: skip

# %% [markdown]
# **Trap two: sisters.** A polycrystalline wafer is a slice of an ingot, and its neighbours in the ingot show the same grains, sometimes mirrored or turned on their way into the module.
# No two files are equal, yet a test cell may have its sister in the training set. Correlating the grains (busbars removed, all eight ways to lay one cell on another) finds them:

# %%
poly = [c for c in listed["poly, all"] if c.probability in certain.values()]
poly = poly[: pick(scale, smoke=60, laptop=len(poly))]
prints = solar.fingerprints(solar.read(poly))
closeness = solar.sisters(prints, prints)
np.fill_diagonal(closeness, -1)
related = closeness.max(1) > solar.SISTERS
share = float(related.mean())
ledger.record("p03_share_of_poly_cells_with_a_sister", share, tolerance=0.01)

# %% tags=["hide-input"]
sister = closeness.argmax(1)
found = np.flatnonzero(related & (np.arange(len(poly)) < sister))
found = found[np.linspace(0, len(found) - 1, 6).round().astype(int)]
pairs = solar.read([poly[i] for i in (*found, *sister[found])])[:, ::2, ::2] / 255
titles = [f"r = {r:.2f}" for r in closeness[found].max(1)] + [""] * 6
plotting.show(plotting.gallery(np.repeat(pairs[:, None], 3, axis=1), titles), alt="Six pairs of polycrystalline cells, one above the other. Each pair shows the same pattern of dark grains though the pictures come from different cells; some of them stand on their heads.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("{p03_share_of_poly_cells_with_a_sister:.0%} of the polycrystalline cells have a sister. `solar.load` draws the test cells first and turns their sisters away from the training set. What both traps are worth is measured at the end of this page. (The cells above are ELPV's, under the notice given with the first figure of them.)")  # fmt: skip

# %% [markdown]
# ## Your own pictures
#
# MVTec AD itself may not be redistributed, so no pixel of it is in this book. `folders.load` reads it, and everything in the same layout, from wherever
# you keep it. We write two images in that layout, read them back, then take one mask away: a reader's error message is part of its interface.

# %%
with tempfile.TemporaryDirectory() as root:
    folders.write(sets["wood"], root, "wood")
    own = folders.load(root, "wood", size=48)
    next(Path(root).glob("wood/ground_truth/cut/*")).unlink()
    try:
        folders.load(root, "wood")
    except ValueError as error:
        complaint = str(error).replace(root, "ROOT")
if scale == "paper":
    own = folders.load(MVTEC, folders.categories(MVTEC)[0], size=256)
kinds = ", ".join(dict.fromkeys(own.kinds))
print(f"{len(own.train)} normal, {len(own.test)} test images: {kinds}")
print(complaint)

# %% [markdown]
# ## What a feature sees
#
# A feature map gives each place of an image a vector. To look at one, we project the vectors on their three main directions of variation and call these red, green and
# blue. Equal colours then mean: *for this feature, the same thing*. From left to right the features look at ever larger surroundings; watch the texture dissolve into
# areas, and the defect come out of it. The frame round the maps of stride 16 is no defect: there the network looks beyond the border, at the zeros it was padded with.

# %%
net = efficientnet_lite0(stages=STRIDES, device=device())
features = partial(views, net, seed=seed)  # images → name → maps
gravel, cell = photos["gravel"].test[1], cells["mono"].test[-1]
gravel, cell = (
    F.interpolate(x[None], (size, size), mode="bilinear")[0] for x in (gravel, cell)
)
shown = {
    "grid, hole": sets["grid"].test[1],
    "wood, contamination": sets["wood"].test[5],
}
shown |= pick(scale, smoke={}, laptop={"gravel, hole": gravel, "solar cell": cell})
seen = features(torch.stack(list(shown.values())))

# %% tags=["hide-input"]
kept = [name for name in seen if name != "colours"]
fig, axes = plt.subplots(len(shown), 6, figsize=(plotting.WIDTH, 1.4 * len(shown) + 0.4), layout="constrained")  # fmt: skip
for i, (row, (title, picture)) in enumerate(zip(axes, shown.items(), strict=True)):
    seen_here = {"image": picture.permute(1, 2, 0)} | {k: pca_rgb(seen[k][i]) for k in kept}  # fmt: skip
    for ax, (name, drawn) in zip(row, seen_here.items(), strict=True):
        plotting.draw(ax, drawn, "" if i else name.replace(", ", "\n"))
    row[0].set_ylabel(title.replace(", ", "\n"), fontsize=10)
plotting.show(fig, alt="Four images and, for each, five feature maps coloured by their three main components. Handcrafted maps repeat the image's edges; network maps become coarser from stride 4 to stride 16, until only a few coloured blocks remain. The hole and the thread stand out in their own colour.")  # fmt: skip

# %% [markdown]
# ## How far a feature looks
#
# One vector of a map depends on a patch of the image, its *receptive field*. Which pixels really matter is a question for the gradient: let $f(x)$ be the
# vector in the middle of the map, and measure $\sum_c \left(\partial f_c / \partial x_p\right)^2$ for each pixel $p$. Random signs $r_c$ save a backward pass
# a channel, as the cross terms cancel on average: $\mathbb{E}_r\big[(\partial \sum_c r_c f_c / \partial x_p)^2\big] = \sum_c (\partial f_c/\partial x_p)^2$.
# Look for how small the bright core is beside the stride times the size of the map.


# %%
def influence(images, stage, probes):
    """Squared gradient of the middle vector of one stage by each pixel: (H,W), sums to 1."""
    generator = torch.Generator().manual_seed(seed)
    images = images.to(device()).requires_grad_()
    maps = net(images)[stage]
    middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
    energy = torch.zeros(images.shape[2:])
    for _ in range(probes):
        signs = torch.randint(0, 2, middle.shape, generator=generator) * 2.0 - 1
        signed = (middle * signs.to(middle)).sum()
        (gradient,) = torch.autograd.grad(signed, images, retain_graph=True)
        energy += gradient.square().sum((0, 1)).cpu()
    return energy / energy.sum()


field, probes = pick(scale, smoke=(96, 1), laptop=(192, 6))
probe = torch.stack([textures.render(name, field, [seed, 7]) for name in names])
energies = {stride: influence(probe, i, probes) for i, stride in enumerate(STRIDES)}
half, most = ({s: square_with(e, q) for s, e in energies.items()} for q in (0.5, 0.9))  # fmt: skip
for stride, side in most.items():
    ledger.record(f"p03_reach90_stride{stride}", side, tolerance=0.1)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(plotting.WIDTH, 3.2), layout="constrained")
for ax, (stride, energy) in zip(axes, energies.items(), strict=True):
    bright = (energy / energy.max()).clamp(min=1e-6).log10()
    drawn = plotting.draw(ax, bright, f"stride {stride}:\nhalf in {half[stride]} px, 90 % in {most[stride]} px", vmin=-6, vmax=0)  # fmt: skip
    ax.set(xlabel="pixels", xticks=[0, field // 2, field], yticks=[0, field // 2, field])  # fmt: skip
fig.colorbar(drawn, ax=list(axes), label="log₁₀ influence,\nrelative to the largest", shrink=0.8)  # fmt: skip
plotting.show(fig, alt="Three heat maps of how much each pixel influences the middle feature vector. The bright core grows with the stride, and around it lies a wide dim area that carries little of the influence.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Nine tenths of the influence lie in a square of {p03_reach90_stride4} pixels at stride 4, {p03_reach90_stride8} at stride 8 and {p03_reach90_stride16} at stride 16. A defect smaller than that shares its vector with the healthy material around it.")  # fmt: skip

# %% [markdown]
# ## What a defect does to a feature
#
# Now the trick that only planted defects allow: push the same image through the network with and without its defect, and map the distance between the two feature vectors, place by
# place. Nothing else has changed, so whatever lights up is the defect's doing. Look at two things: does a stage react at all, and how far does the reaction spill over the outline?

# %%
stories = {"carpet": "cut", "leather": "colour", "wood": "warp", "tile": "blur"}
stories = dict(list(stories.items())[: pick(scale, smoke=1, laptop=4)])
before = [textures.render(n, size, [seed, 40 + i]) for i, n in enumerate(stories)]
before = torch.stack(before)
after, truth = defects.damage(before, list(stories.values()), [seed, 3])
with_defect, without = features(after), features(before)
effect = {name: (with_defect[name] - without[name]).norm(dim=1) for name in without}

# %% tags=["hide-input"]
fitted = {
    name.replace("network, ", ""): F.interpolate(change[:, None], (size, size))[
        :, 0
    ]
    for name, change in effect.items()
    if name.startswith(("colours", "network"))
}
titles = [", ".join(story) for story in stories.items()]
plotting.show_maps(after, truth, fitted, titles, alt="The map is the distance between the features with and without the defect. Colours change exactly inside the mask; with growing stride the reaction becomes a coarse spot larger than the mask.")  # fmt: skip

# %% [markdown]
# That a feature changes is not enough: a pushed thread shows other colours at each pixel, but they are all colours of the carpet. A detector asks whether the new vector is *unlike
# anything normal*. So we measure the distance to the nearest vector in a memory of good images, for the very same places with and without the defect. Their ratio, the **novelty**,
# is 1 for a defect that this feature cannot tell from good material. The **spill** is the share of the squared change that falls into cells without a single defective pixel.

# %%
small, repeats = pick(scale, smoke=(64, 1), laptop=(160, 2))
rows = (reactions(features, name, small, repeats, seed) for name in names)
reaction = pd.DataFrame(chain.from_iterable(rows))
novelty = reaction.pivot_table("novelty", "feature", "defect", sort=False)
values = novelty[list(defects.KINDS)]
novelty["spill"] = reaction.groupby("feature", sort=False)["spill"].mean()
ledger.record("p03_novelty", novelty.round(6).T.to_dict(), tolerance=0.02)
see_all = values.index[(values > 1).all(axis=1)].tolist()
ledger.record("p03_features_that_see_all", see_all)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(plotting.WIDTH, 3.4), layout="constrained")
for i, (feature, row) in enumerate(values.iterrows()):
    ax.bar(np.arange(6) + (i - 2.5) * 0.13, row, width=0.12, label=feature)
ax.axhline(1, color="black", lw=0.8)
ax.set(xticks=range(6), xticklabels=defects.KINDS, ylabel="novelty (1 = invisible)", yscale="log")  # fmt: skip
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
plotting.show(fig, alt="Bars on a logarithmic axis: novelty of six defects for six features, with a line at 1, where a defect is invisible. Heights are in the table below.")  # fmt: skip
caption = (
    "Novelty of each defect (1 = invisible), and share of the change that spills"
)
plotting.table(novelty.rename_axis(index=None, columns=None), caption, formats="{:.2f}")  # fmt: skip

# %% tags=["remove-input"]
ledger.say(f"Colours alone give a hole a novelty of {{p03_novelty[colours][hole]:.1f}} and spill nothing, but a blur gets {{p03_novelty[colours][blur]:.2f}} and a warp {{p03_novelty[colours][warp]:.2f}}: below 1, a defect looks *more* normal than the material. Above 1 for all six defects are: {'; '.join(see_all)}. The price of a deep stage is place: at stride 16, {{p03_novelty[network, stride 16][spill]:.0%}} of the change lies where no defective pixel is.")  # fmt: skip

# %% [markdown]
# ## Do the cells pass? A nearest-memory score
#
# The simplest detector there is: keep feature vectors of normal cells in a memory, and score a cell by the largest distance of any of its vectors to the nearest one in memory.
# Image AUROC is the probability that a defective cell gets the higher score. Read the table row by row against its neighbour: what do the busbars give, and what do the sisters?

# %%
n_train, n_test = pick(scale, smoke=(4, 3), laptop=(40, 20), paper=(200, 100))
side = pick(scale, smoke=64, laptop=128, paper=160)
splits = pick(scale, smoke=2, laptop=5, paper=10)
settings = {
    "mono, all designs": ("mono", {"designs": "all"}),
    "mono, shared designs": ("mono", {"designs": "shared"}),
    "poly, sisters in the memory": ("poly", {"keep_sisters": True}),
    "poly, sisters kept out": ("poly", {"keep_sisters": False}),
}


def drawn_cells(cell, split=0, **options):
    return solar.load(cell, side, n_train, n_test, n_test, seed=seed + split, **options)  # fmt: skip


def memory_score(train, test):
    """Largest distance to the nearest of 2000 normal vectors: (N,C,h,w) → (N,)."""
    memory = remember(train, 2000, seed)
    return torch.stack([nearest(m.flatten(1).T, memory)[0].max() for m in test])


# %%
rows = []
for name, (cell, options) in settings.items():
    for split in range(splits):
        data = drawn_cells(cell, split, **options)
        pairs = zip(stages(net, data.train), stages(net, data.test), strict=True)
        for stride, (train, test) in zip(STRIDES, pairs, strict=True):
            auroc = metrics.image_auroc(memory_score(train, test), data.labels)
            rows.append((name, f"stride {stride}", split, float(auroc)))
found = pd.DataFrame(rows, columns=["cells", "stage", "split", "auroc"])
mean = found.pivot_table("auroc", "cells", "stage", sort=False)
ledger.record("p03_solar_auroc", mean.round(6).T.to_dict(), tolerance=0.02)
caption = f"Image AUROC, mean of {splits} splits"
plotting.table(
    mean.rename_axis(index=None, columns=None), caption, formats="{:.3f}"
)

# %% [markdown]
# The differences of the pairs of rows, split by split at stride 16, with the 95 % interval of their mean. An interval
# that holds zero says that so few splits cannot tell. Splits share cells, so honest intervals would be wider still.

# %%
deepest = found[found["stage"] == "stride 16"].pivot(index="split", columns="cells", values="auroc")  # fmt: skip
for key, first in {"busbars": 0, "sisters": 2}.items():
    with_trap, without_trap = (deepest[list(settings)[first + k]] for k in (0, 1))
    bonus, low, high = ledger.t_interval((with_trap - without_trap).tolist())
    ends = {"mean": bonus, "low": low, "high": high}
    ledger.record(f"p03_bonus_{key}", ends, tolerance=0.5)

# %% tags=["remove-input"]
ledger.say("Busbars: {p03_bonus_busbars[mean]:+.3f} AUROC, from {p03_bonus_busbars[low]:+.3f} to {p03_bonus_busbars[high]:+.3f}. Sisters: {p03_bonus_sisters[mean]:+.3f}, from {p03_bonus_sisters[low]:+.3f} to {p03_bonus_sisters[high]:+.3f}. With both traps closed there is room at the top: these cells are a test, not a formality.")  # fmt: skip

# %% [markdown]
# ## What it costs
#
# Seconds and megabytes for one image of 224 × 224 pixels, as float32. The network row holds all three stages at once.

# %% tags=["timing"]
picture = textures.render("wood", 224, seed)[None].to(device())
workers = {
    "random kernels (32)": lambda: [handcrafted.random_kernels(picture, n=32)],
    "steerable filters": lambda: [handcrafted.steerable_pyramid(picture)],
    "network, strides 4, 8, 16": lambda: net(picture),
}
costs = {}
for name, work in workers.items():
    with torch.no_grad():
        spent, maps = seconds(work, pick(scale, smoke=1, laptop=5)), work()
    costs[name] = {
        "maps": ", ".join("×".join(map(str, m.shape[1:])) for m in maps),
        "seconds": spent,
        "MiB": sum(m.numel() * m.element_size() for m in maps) / 2**20,
    }
spent = {name: cost["seconds"] for name, cost in costs.items()}
ledger.record("p03_seconds_an_image", spent, timing=True)
formats = {"seconds": "{:.3f}", "MiB": "{:.1f}"}
costs = pd.DataFrame.from_dict(costs, orient="index")
plotting.table(costs, "Cost of features, one image of 224²", (), formats, timing=True)  # fmt: skip

# %% [markdown]
# The maps of the network together are smaller than the image they came from; handcrafted maps at
# full resolution are many times larger. Time and memory of the whole page are on the *Status* page.

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("What do features see of a defect, and where could a detector cheat? On drawn textures a blurred place is {p03_novelty[colours][blur]:.2f} times as far from the sound material as that is from itself in colours (below 1: invisible), and {p03_novelty[network, stride 16][blur]:.2f} times at a network's stride 16; on real solar cells, recognising a thick busbar is worth {p03_bonus_busbars[mean]:+.2f} AUROC, so the book leaves those cells out.", short=True)  # fmt: skip

# %% [markdown]
# ## Exercise
#
# Nothing is wrong with a good cell that lies on its side. Turn the good monocrystalline test cells by a
# quarter and score them with the memory of upright ones. What does the detector say, and whose fault is it?

# %% tags=["hide-input"]
# Solution: a memory knows what it has seen, and nothing about what may be turned.
data = drawn_cells("mono")
asked = {
    "good": data.test[~data.labels],
    "good, turned": torch.rot90(data.test[~data.labels], 1, (2, 3)),
    "defective": data.test[data.labels],
}
memory = stages(net, data.train)[2]
scores = {
    k: memory_score(memory, stages(net, x)[2]).cpu() for k, x in asked.items()
}
above = float((scores["good, turned"] > scores["good"].max()).double().mean())
ledger.record("p03_turned_share", above, tolerance=0.1)
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.boxplot(
    list(scores.values()), orientation="horizontal", tick_labels=list(scores)
)
ax.set(xlabel="distance to the nearest normal vector, largest of the cell")
plotting.show(fig, alt="Box plots of the score: good cells lowest, defective cells wide above them, and good cells turned by a quarter higher than nearly everything else.")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("{p03_turned_share:.0%} of the turned cells score higher than every upright good one. The fault is ours: *normal* means *seen in training*, and nobody told the memory that busbars may run upwards.")  # fmt: skip
