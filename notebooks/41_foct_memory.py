# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FOCT: the memory
#
# Two memories, one of the shots and one of the stream: what gets in, what is thrown out, and does a mask keep the background out?
#
# *FOCT: Few-shot Industrial Anomaly Detection with Foreground-aware Online Conditional Transport* (ACM MM 2024), Sections 4.1, 4.2 and 4.4.2, Figures 2, 3 and 5. Three claims are judged: **foct-11**, without the foreground the episodic memory fills with background; **foct-18**, the coreset covers it better than a random choice; **foct-19**, the split saves computation.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds

# %% tags=["hide-input"]
import pandas as pd
import torch

from otad import ledger, plotting
from otad.data.drawn import scenes
from otad.features.foreground import ColourMixtures, GrabCut
from otad.machine import seconds
from otad.methods.memory.episodic import kept_size, top_queries
from otad.methods.memory.foct import small_masks
from otad.plotting.pipeline import pipeline
from otad.scale import device, pick
from otad.studies import few_shot as shared, foct_memory as study
from otad.studies.foct_results import CHOSEN

# %% [markdown]
# ## A stream of normal pictures
# The turned scenes of page 42: the object is small and lies less carefully, as in the data for which the foreground was meant. The renderer knows where it is, in the shots and in the queries; a method sees the shots' masks alone.

# %%
side = pick(scale, smoke=48, laptop=128)
n_seeds, n_queries = pick(scale, smoke=(2, 3), laptop=(10, 12))
CLASSES = pick(scale, smoke=("bottle",), laptop=("transistor", "bottle"))
POSE = {"zoom": shared.ZOOM, "wander": shared.WANDER}


def pictures(name, s, n):
    """Normal pictures (n,3,H,W) and where their object is (n,H,W)."""
    seeds = [[s, scenes.NAMES.index(name), 41, i] for i in range(n)]
    images = [scenes.render(name, side, one, **POSE)[0] for one in seeds]
    inside = [scenes.foreground(name, side, one, **POSE) for one in seeds]
    return torch.stack(images).to(device()), torch.stack(inside).to(device())


look = shared.patches(shared.network("laptop"))
images, inside = pictures(CLASSES[0], seed, 2 + n_queries)
shots, queries = images[:2], images[2:]

# %% [markdown]
# ## The semantic memory (Equation 3, Figure 2)
# A feature belongs to the foreground if half of its cell does. Of the object's features the share $\alpha$ is kept, of the rest $\beta$, each by a greedy coreset of its own. Red dots are kept foreground, blue ones kept background: see that the coreset likes edges and odd corners, of which a plain background has few.


# %%
def memory(kind, shots, masks, **settings):
    """FOCT fitted with the mask of this kind ("exact", "inverted", "none")."""
    method = shared.foct(look, shots, "laptop", seed, CHOSEN["FOCT"], **settings)
    return method.fit(shots, shared.foreground_of(kind, masks, seed))


method = memory("exact", shots, inside[:2])
features = torch.cat([method.features(shot) for shot in shots.split(1)])
h, w = features.shape[2:]
points = features.movedim(1, -1).flatten(0, 2)
place = torch.cdist(method.semantic_, points).argmin(1)
small = small_masks(inside[:2], shots, (h, w))
sorts = {"object": method.foreground_, "background": ~method.foreground_}
sizes = [*(int(some.sum()) for some in sorts.values()), len(points)]
ledger.record("p41_semantic", sizes, tolerance=0.05)

# %% tags=["hide-input"]
first = [place[(place < h * w) & some] for some in sorts.values()]
steps = {"shot": shots[0], "mask": inside[0], "mask of cells": small[0]}
pipeline(
    {"": steps | {"kept": plotting.dotted(shots[0], first, (h, w))}},
    alt="A shot with a small turned object, its mask, the mask at the size of the feature map, and dots where features were kept: red ones on the object, blue ones around.",
    shows=["foct Figure 2"],
)

# %% tags=["remove-input"]
ledger.say(
    "Of {p41_semantic[2]} features of two shots {p41_semantic[0]} of the object and {p41_semantic[1]} of the background are kept."
)

# %% [markdown]
# The renderer knows where its object is; a camera does not. In print SAM finds it; two segmenters that need no weights stand in for it where readers bring pictures of their own. How much of the true object do they share with it, as intersection over union?

# %%
FINDERS = {"colour mixtures": ColourMixtures(), "GrabCut": GrabCut()}
overlap = {}
for name in scenes.NAMES:
    some, true = pictures(name, seed, pick(scale, smoke=1, laptop=4))
    for finder, segment in FINDERS.items():
        found = segment(some)
        both, any_ = (found & true).sum((1, 2)), (found | true).sum((1, 2))
        overlap.setdefault(finder, {})[name] = float((both / any_).mean())
ledger.record("p41_overlap", overlap, tolerance=0.05)
table = pd.DataFrame(overlap).T.assign(mean=lambda t: t.mean(axis=1))
said = (
    "Intersection over union with the exact mask, normal pictures of turned scenes"
)
plotting.table(table.rename_axis("segmenter").reset_index(), said, formats="{:.2f}")

# %% [markdown]
# ## What a query adds (Equation 6, Figure 3b)
# Every feature of the query names the entry it goes to; those with the largest probability join, ten that go to foreground entries and forty that go to background ones. A query feature counts as foreground here if it *goes* there: the query has no mask. Dots are coloured by where they go.

# %%
points = method.features(queries[:1])[0].flatten(1).T
plan = method.plan(method.semantic_, points, method.start_.navigator)
numbers = {"object": 10, "background": 40}
picked = [top_queries(plan.forward, n, sorts[k]) for k, n in numbers.items()]

# %% tags=["hide-input"]
joins = plotting.dotted(queries[0], picked, (h, w))
pipeline(
    {"": {"query": queries[0], "what joins": joins}},
    alt="A query and the places of the features that join the memory, red where they go to foreground entries, blue where they go to the background; most are blue.",
    shows=["foct Figure 3"],
)

# %% [markdown]
# ## What is thrown out (Equation 7, Figure 3c)
# Fifty a query, and room for $L = 100$: when that is reached the coreset keeps $\lambda L = 25$. The public code keeps all picks ever and compresses them anew at each query.

# %%
lengths = {"paper": [], "authors": []}
for rule, found in lengths.items():
    length = total = 0
    for _ in range(12):
        total += 50
        so_far = total if rule == "authors" else length + 50
        length = kept_size(so_far, 100, 0.25, rule)
        found.append(length)
ledger.record("p41_lengths", lengths)

# %% tags=["hide-input"]
said = {"text": lengths["paper"], "public code": lengths["authors"]}
plotting.lines(
    {"": {name: (range(1, 13), n) for name, n in said.items()} | {"L": 100}},
    "queries",
    "vectors kept",
    shows=["foct Figure 3"],
)

# %% tags=["remove-input"]
ledger.say(
    "By the text {p41_lengths[paper][0]}, {p41_lengths[paper][1]}, {p41_lengths[paper][2]}, {p41_lengths[paper][3]} …; by the code {p41_lengths[authors][0]}, {p41_lengths[authors][1]}, {p41_lengths[authors][2]}, {p41_lengths[authors][3]} …"
)

# %% [markdown]
# ## Who gets the attention (Figure 5)
# The backward plan asks each entry of the memory which query it would choose. Summed over entries it says how much mass a place of the query receives. Left without the foreground mechanism, which is OCT (page 40), right with it.

# %%
whole = memory("none", shots, inside[:2])
mass = {}
for name, one in (("OCT", whole), ("FOCT", method)):
    plan = one.plan(one.semantic_, points, one.start_.navigator)
    mass[name] = (
        plan.backward.sum(0).view(1, h, w).cpu() * h * w / len(plan.backward)
    )
on = small_masks(inside[2:3], queries[:1], (h, w))[0].cpu()
share = {name: float(m[0][on].sum() / m.sum()) for name, m in mass.items()}
share["object"] = float(on.float().mean())
ledger.record("p41_attention", share, tolerance=0.05)
large = {
    name: torch.nn.functional.interpolate(m[None], (side, side))[0]
    for name, m in mass.items()
}

# %% tags=["hide-input"]
plotting.show_maps(
    queries[:1],
    inside[2:3],
    large,
    ["query and its object"],
    alt="The maps show the mass that places receive; bright is much.",
    shows=["foct Figure 5"],
)

# %% tags=["remove-input"]
ledger.say(
    "The object is {p41_attention[object]:.0%} of the picture; it receives {p41_attention[OCT]:.0%} of the mass without the mechanism and {p41_attention[FOCT]:.0%} with it."
)

# %% [markdown]
# ## The run
# For each seed and class two shots and a stream of normal queries. How much of the episodic memory lies outside the object, at the end; how well 25 vectors cover everything that was picked; and how many pairs a plan has.

# %%
rows = [
    {"class": name, "seed": s}
    | study.stream(look, memory, *pictures(name, s, 2 + n_queries), s)
    for name in CLASSES
    for s in range(seed, seed + n_seeds)
]
found = pd.DataFrame(rows).groupby("seed").mean(numeric_only=True)

# %%
ends = {c: ledger.t_interval(found[c].tolist()) for c in found}
table = pd.DataFrame(
    {c: {"mean": m, "±": m - low} for c, (m, low, _) in ends.items()}
)
table = table.T
names = ["all", *study.KINDS]
shown = 100 * table.loc[names].rename_axis("background in").reset_index().set_index("background in")  # fmt: skip
plotting.table(shown.reset_index(), f"Background (%), {n_seeds} seeds; all: of the stream's patches", formats="{:.1f}")  # fmt: skip
ledger.record("p41_background", table["mean"].loc[names].to_dict(), tolerance=0.05)
ledger.record("p41_radius", table["mean"].loc[["coreset", "random"]].to_dict(), tolerance=0.05)  # fmt: skip

# %% tags=["remove-input"]
ledger.say(
    "Of the stream's patches {p41_background[all]:.0%} are background. OCT's memory has {p41_background[OCT]:.0%}, FOCT's {p41_background[FOCT]:.0%}, and FOCT's with the mask the wrong way round {p41_background[inverted]:.0%}. The numbers of picks, 10 and 40, write the share down before anything is measured. What an inverted mask does to detection is on page 43."
)

# %% [markdown]
# ## Verdicts

# %%
DRAWS = "a seed draws shots and stream; mean of the classes"
margins = 100 * (found["OCT"] - found["FOCT"])
ledger.verdict(
    "foct-11",
    {"background in OCT's memory > in FOCT's": margins.tolist()},
    resampling=DRAWS,
    unit="points",
    why="Ten picks of fifty may go to the foreground and forty must go to the background, so FOCT's share is set by its two numbers, where OCT takes what fits best. On drawn scenes with exact masks.",
    smallest_effect=5.0,
    effect_reason="a twentieth of the memory",
)

# %%
margins = 100 * (1 - found["coreset"] / found["random"])
ledger.verdict(
    "foct-18",
    {"radius of the coreset < of a random choice": margins.tolist()},
    resampling=DRAWS,
    unit="% of the random radius",
    why="25 of all picks; the radius is the largest distance from a pick to what was kept. The greedy coreset is a 2-approximation of the smallest radius, so only a lucky draw could do better.",
)

# %%
margins = 100 * (1 - found["pairs FOCT"] / found["pairs OCT"])
equal = 100 * (1 - found["pairs inverted"] / found["pairs OCT"])
ledger.verdict(
    "foct-19",
    {"pairs of FOCT's plan < of OCT's": margins.tolist()},
    resampling=DRAWS,
    unit="% of OCT's pairs",
    why=f"A query's cost is its pairs with the memory, counted instead of timed. The saving is β < α and nothing else: were both equal it would be none, and an inverted mask saves {equal.mean():.0f} %, where the exact one saves {margins.mean():.0f} %. Making the mask, with SAM in print, is not counted.",
)

# %% [markdown]
# ## What it costs

# %% tags=["timing", "hide-input"]
spent = {
    name: seconds(lambda one=one: one.score(queries[:2]), 2) / 2
    for name, one in (("OCT", whole), ("FOCT", method))
}
ledger.record("p41_seconds", spent, timing=True, bounds=(0, 60))
plotting.table(
    pd.DataFrame({"ms a query": 1000 * pd.Series(spent)})
    .rename_axis("method")
    .reset_index(),
    "With the cheap navigator; the pairs that foct-19 counts are a small part of it",
    formats="{:.0f}",
    timing=True,
)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Does the mask keep the background out of FOCT's memory? With it {p41_background[FOCT]:.0%} of the episodic memory is background, without it {p41_background[OCT]:.0%}, with an inverted one {p41_background[inverted]:.0%}, on drawn scenes whose patches are {p41_background[all]:.0%} background: what decides is on which side of the mask the larger number of picks is taken.",
    short=True,
)

# %% [markdown]
# ## Exercise
# Which two numbers of picks, fifty together, would make FOCT's episodic memory hold as much foreground as the stream does?

# %% [markdown]
# ### Solution
# Were every pick to lie where it goes, the share of foreground picks would have to be that of the stream, $1 - b$ with the background's share $b$ above.

# %% tags=["hide-input"]
ledger.record("p41_picks", 50 * (1 - table["mean"]["all"]), tolerance=0.05)

# %% tags=["remove-input"]
ledger.say("About {p41_picks:.0f} and the rest.")
