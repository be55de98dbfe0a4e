# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Benchmark: defects made on purpose
#
# Nobody has pictures of the defects that are still to come. So make some: cut and paste, blend, paint over. What does a network learn from them, and what does it miss when the made ones are of the wrong kind?
#
# *Benchmarking Unsupervised Anomaly Detection and Localization*, rows CutPaste, NSA and DRAEM of Tables 1 and 2. The benchmark counts the first two among the methods that learn a representation, DRAEM among those that reconstruct; their training sets are what they have in common. The pictures are solar cells, photographed, some with planted and some with real defects, and a drawn bottle. No printed value is reproduced here.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import time

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn import scenes
from otad.data.drawn.defects import KINDS
from otad.data.packaged import solar
from otad.features.pretrained import efficientnet_lite0
from otad.methods import DRAEM, NSA, CutPaste, PatchCore
from otad.methods.pretext.blending import poisson_blend
from otad.methods.reconstruction.draem import focal_loss
from otad.metrics import image_auroc
from otad.scale import device, pick
from otad.studies import made as study
from otad.studies.networks import Remembering

MAKERS = study.MAKERS

# %% [markdown]
# ## Four ways to spoil a picture
# **CutPaste** (Li et al., 2021) cuts a rectangle out of a picture, shakes its colours a little and pastes it elsewhere: 2 to 15 % of the area, up to 3.3 times as long as wide. Or a *scar*, a thin strip, turned by up to 45°. The mask is what changed.
#
# **NSA** (Schlüter et al., 2022) takes pieces of *another* picture and blends them in without a seam. Inside the piece $\Omega$ the new picture $f$ has the gradients $v$ of the piece, on its border the values of the old picture $f^*$ (Poisson's equation, solved for each colour):
#
# $$ \Delta f = \operatorname{div} v \text{ in } \Omega, \qquad f = f^* \text{ on } \partial\Omega, \qquad \text{label} = \frac{1}{1 + e^{-k(d - x_0)}}, $$
#
# where $d$ is the change in grey levels, a median around each pixel. What changed little counts little.
#
# **DRAEM** (Zavrtanik et al., 2021) paints a foreign texture $A$ behind a cloudy mask $M$, Perlin noise above ½:
#
# $$ I_a = (1 - M) \odot I + M \odot \bigl((1 - \beta)\, A + \beta\, I\bigr), \qquad \beta \sim U(0, 0.8). $$
#
# Its textures are those of the Describable Textures Dataset, which are photographs; here drawn textures stand for them.

# %%
side, n_train = pick(scale, smoke=(64, 12), laptop=(128, 40))
n_each, n_real = pick(scale, smoke=(2, 6), laptop=(6, 30))
n_good = pick(scale, smoke=6, laptop=20)
kinds = ["good"] * n_good + [kind for kind in KINDS for _ in range(n_each)]
planted = solar.planted("mono", side, n_train, kinds, seed, salt=24)
real = solar.load("mono", side, n_train, n_real, n_real, seed + 1)
train, sources = planted.train, study.foreign(side, 2, seed)

# %%
started = time.perf_counter()
made = {m: study.make(m, train, train, sources, seed) for m in MAKERS}
making = (time.perf_counter() - started) / (len(MAKERS) * n_train)

# %% [markdown]
# The same cell through all four: the one on which the smallest of the four changes is largest. Look for the seam along the mask's outline: CutPaste's is sharp, NSA has none, DRAEM does not try to hide its own.

# %% tags=["hide-input"]
one = int(torch.stack([made[m].changed.float().mean((1, 2)) for m in MAKERS]).amin(0).argmax())  # fmt: skip
pictures = torch.stack([made[m].images[one] for m in MAKERS])
marks = torch.stack([made[m].changed[one] for m in MAKERS])
change = 255 * (pictures - train[one]).abs().mean(1)
labels = torch.stack([made[m].labels[one] for m in MAKERS])
plotting.show_maps(
    pictures,
    marks,
    {"change, grey levels": change, "label": labels},
    titles=[m.replace(", ", "\n") for m in MAKERS],
    scales={"label": (0, 1)},
    alt="One solar cell, damaged by each of four makers. The label is the mask itself, but for NSA, whose label is softer and smaller than what changed.",
)  # fmt: skip

# %% tags=["hide-input"]
looks = pd.DataFrame({m: study.measured(train, made[m]) for m in MAKERS}).T
looks.columns = ["share of the picture, %", "change, grey levels", "seam"]
plotting.table(looks, caption="What the makers make of the training cells; seam: the step at the rim over what it was before, the median", formats="{:.1f}")  # fmt: skip
ledger.record("p24_seam", looks["seam"].to_dict(), tolerance=0.05)
ledger.record("p24_change", looks["change, grey levels"].to_dict(), tolerance=0.05)
labelled = float((made["NSA"].labels > 0.5).float().mean() / made["NSA"].changed.float().mean())  # fmt: skip
ledger.record("p24_labelled", labelled, tolerance=0.05)

# %% tags=["remove-input"]
ledger.say("At its rim a patch of CutPaste makes a step {p24_seam[CutPaste, patch]:.1f} times what was there before, DRAEM's paint one of {p24_seam[DRAEM]:.1f}, NSA's piece one of {p24_seam[NSA]:.1f}. A network that is to find the first two may look for edges alone. On these cells, which are much alike, NSA's label calls only {p24_labelled:.0%} of the pixels that it changed more abnormal than not: most of its pieces can hardly be seen, and the network is told so.")  # fmt: skip

# %% [markdown]
# ## One network, four teachers
# To compare the defects and not the networks, all four teach the same one: a decoder of three convolutions a level on frozen features (EfficientNet-Lite0, strides 8 and 16). It sees as many good pictures as damaged ones and learns each maker's own label by its cross entropy. **None of the papers does that**: CutPaste and NSA train a ResNet18 from nothing, DRAEM two networks of 97 million weights together. It is a head on frozen features, and answers what is *in the defects*.
#
# Three questions: does it find fresh defects of its own maker, on cells that it has not seen? Planted ones, which no maker knew? Real ones? PatchCore, which was never shown a defect, is asked the same.

# %%
n_steps = pick(scale, smoke=4, laptop=60)
net = efficientnet_lite0(stages=(8, 16), device=device())
good = ~planted.labels
held_out = planted.test[good]
seen = {
    "train": study.looked(net, train),
    "planted": study.looked(net, planted.test),
}
seen["real"] = study.looked(net, real.test)


def found(score, maps):
    """Image AUROC (%) of a scoring function: own defects are not asked here."""
    tops = {name: score(maps[name]) for name in ("planted", "real")}
    row = {"real": 100 * image_auroc(tops["real"], real.labels)}
    for kind in KINDS:
        these = torch.tensor([k in (kind, "good") for k in planted.kinds])
        row[kind] = 100 * image_auroc(tops["planted"][these], planted.labels[these])
    return row


# %%
def taught(maker, s):
    """Teach the decoder by one draw of a maker's defects; a row of the table, its losses."""
    lesson = study.make(maker, train, train, sources, s)
    spoilt = study.looked(net, lesson.images)
    labels = lesson.labels
    painter, losses = study.learn(net, seen["train"], spoilt, labels, n_steps, s)

    def score(maps):
        return study.painted(painter, maps, (side, side)).amax((1, 2))

    fresh = study.make(maker, held_out, train, sources, s + 50)
    own = score(study.looked(net, torch.cat([held_out, fresh.images])))
    is_own = torch.arange(len(own)) >= len(held_out)
    return {"own": 100 * image_auroc(own, is_own)} | found(score, seen), losses


# %%
started = time.perf_counter()
draws = range(seed, seed + pick(scale, smoke=2, laptop=2))
lessons = {(m, s): taught(m, s) for m in MAKERS for s in draws}
teaching = (time.perf_counter() - started) / len(lessons)
core = PatchCore(Remembering(net), reweight=False).fit(train.to(device()))
tops = {"planted": planted.test, "real": real.test}
tops = {k: core.score(x.to(device())).image_scores.cpu() for k, x in tops.items()}
rows = pd.DataFrame({key: row for key, (row, _) in lessons.items()}).T
table = rows.groupby(level=0, sort=False).mean()
table.loc["PatchCore, no teacher"] = found(lambda x: x, tops)
table = table[["own", *KINDS, "real"]]

# %%
four, core_row = table.loc[list(MAKERS)], table.loc["PatchCore, no teacher"]
best = {"own": four["own"].min(), "own best": four["own"].max()}
best |= {"real": four["real"].max(), "core": core_row["real"]}
best["planted"] = four[list(KINDS)].mean(axis=1).max()
best["core planted"] = core_row[list(KINDS)].mean()
ledger.record("p24_best", best, tolerance=0.6)
ledger.record("p24_table", four.T.to_dict(), tolerance=0.6)

# %% tags=["hide-input"]
plotting.table(table, caption=f"Image AUROC (%) by kind of defect, means over {len(draws)} draws of the made defects and of the decoder; the test pictures stay the same", formats="{:.0f}")  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Fresh defects of its own maker a decoder finds with {p24_best[own]:.0f} to {p24_best[own best]:.0f} %. Of planted defects, over all kinds, the best of the four finds {p24_best[planted]:.0f} %, of real ones {p24_best[real]:.0f} %; PatchCore, which knows of no defects, {p24_best[core planted]:.0f} and {p24_best[core]:.0f} %. The first column is what the training loss sees. It says little about the last.")  # fmt: skip

# %% [markdown]
# ## How like a real defect?
# One might think that where a made defect lies in feature space decides what is learnt from it. Take of each picture the place that is farthest from everything normal (inside its mask, where there is one): that is its defect, a point of 152 standardised features. Then ask for each planted or real defect: how far is the nearest *made* one, in units of how far the nearest *normal* place is?
#
# $$ \text{remoteness} = \operatorname{median}\; \frac{\min_{\text{made}} \lVert f - m \rVert}{\min_{\text{normal}} \lVert f - n \rVert}. $$
#
# Below 1 the makers have been there before; at 1 and above, what they made is no nearer than what is good. If that matters, AUROC should fall from left to right, for one maker and for one kind.

# %%
base = study.places(seen["train"])
spread = base.std((0, 2, 3), keepdim=True)
normal = (
    (base / spread).movedim(1, -1).flatten(0, 2)[::6]
)  # one place in six: enough


def points(maps, masks=None):
    return study.oddest(study.places(maps) / spread, normal, masks)


odd = points([m[planted.labels] for m in seen["planted"]], planted.masks[planted.labels])  # fmt: skip
named = np.array(planted.kinds)[planted.labels.numpy()]
defects = {kind: odd[torch.from_numpy(named == kind)] for kind in KINDS}
defects["real"] = points([m[real.labels] for m in seen["real"]])
likeness = {}
for m in MAKERS:
    known = points(study.looked(net, made[m].images), made[m].changed)
    likeness[m] = {k: study.likeness(x, known, normal) for k, x in defects.items()}
likeness = pd.DataFrame(likeness).T

# %% tags=["hide-input"]
plotting.table(likeness, caption="Remoteness: distance to the nearest made defect over the distance to the nearest normal place", formats="{:.2f}")  # fmt: skip
pairs = {m: (likeness.loc[m].to_numpy(), table.loc[m, likeness.columns].to_numpy(float)) for m in MAKERS}  # fmt: skip
plotting.cloud(pairs, "remoteness (small = made ones are near)", "image AUROC of the decoder (%)", level=1.0)  # fmt: skip


def ranks(x, y):
    """Rank correlation; 0 where one of the two is all the same."""
    x, y = (pd.Series(np.asarray(v, float)).rank() for v in (x, y))
    return float(x.corr(y)) if min(x.std(), y.std()) > 0 else 0.0


columns = likeness.columns
within = np.mean([ranks(*pairs[m]) for m in MAKERS])
between = np.mean([ranks(likeness[k], table.loc[list(MAKERS), k]) for k in columns])
control = np.mean([ranks(likeness.loc[m], table.iloc[-1][columns]) for m in MAKERS])
ledger.record("p24_rank", {"within": within, "between": between, "control": control}, tolerance=0.9)  # fmt: skip
ledger.record("p24_like", {m: float(likeness.loc[m].mean()) for m in MAKERS}, tolerance=0.05)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("For one maker, over kinds, the rank correlation of remoteness and AUROC is {p24_rank[within]:+.2f} on average: kinds that lie far from what was made are not found. But for one kind, over makers, it is {p24_rank[between]:+.2f}: the maker that is nearer does not teach better. And the AUROC of PatchCore, which no maker has taught, goes with the makers' remoteness by {p24_rank[control]:+.2f}. So much of the slope is how *visible* a kind is in these features, whoever looks. On average DRAEM's paint is at {p24_like[DRAEM]:.2f} from a defect, NSA's piece at {p24_like[NSA]:.2f}, CutPaste's patch at {p24_like[CutPaste, patch]:.2f}, its scar at {p24_like[CutPaste, scar]:.2f}.")  # fmt: skip

# %% [markdown]
# ## When the made defects miss the kind
# All four makers change how a *place looks*. A bottle that is filled too low, or whose label has slipped, is wrong as a whole, though each of its places could stand in a good picture. So take the drawn bottle, whose defects come in both sorts, and let the same decoder learn from the same makers. *Structural* are scratches, cracks, stains and tears; *logical* are wrong levels, a shifted label, a wrong fruit. PatchCore, with patches and no teacher, stands beside.

# %%
n_bottle = pick(scale, smoke=(12, 4, 1), laptop=(40, 20, 4))
bottle = scenes.load("bottle", side, *n_bottle, seed=seed)
is_logical = torch.tensor([k in scenes.LOGICAL["bottle"] for k in bottle.kinds])
groups = {"structural": ~is_logical, "logical": is_logical | ~bottle.labels}
base_b, test_b = study.looked(net, bottle.train), study.looked(net, bottle.test)


def asked(tops):
    """Image AUROC (%) of both sorts, each beside all good bottles."""
    return {
        g: 100 * image_auroc(tops[w], bottle.labels[w]) for g, w in groups.items()
    }


sorts = {}
for m in MAKERS:
    lesson = study.make(m, bottle.train, bottle.train, sources, seed)
    spoilt = study.looked(net, lesson.images)
    painter, _ = study.learn(net, base_b, spoilt, lesson.labels, n_steps, seed)
    sorts[m] = asked(study.painted(painter, test_b, (side, side)).amax((1, 2)))
core = PatchCore(Remembering(net), reweight=False).fit(bottle.train.to(device()))
sorts["PatchCore"] = asked(core.score(bottle.test.to(device())).image_scores.cpu())

# %% tags=["hide-input"]
sorts = pd.DataFrame(sorts).T
plotting.table(sorts, caption="Drawn bottle: image AUROC (%) of the two sorts of defects, one draw", formats="{:.0f}")  # fmt: skip
sums = {f"{s} {g}": v for g in groups for s, v in {"mean": sorts.loc[list(MAKERS), g].mean(), "core": sorts.loc["PatchCore", g]}.items()}  # fmt: skip
ledger.record("p24_bottle", sums, tolerance=0.6)

# %% tags=["remove-input"]
ledger.say("Structural defects the four decoders find with {p24_bottle[mean structural]:.0f} % on average, logical ones with {p24_bottle[mean logical]:.0f} %; PatchCore {p24_bottle[core structural]:.0f} and {p24_bottle[core logical]:.0f} %.")  # fmt: skip

# %% [markdown]
# ## The methods themselves, as far as a laptop goes
# The defects are one half of each method; what is done with them is the other. **CutPaste** throws its classifier away and puts a Gaussian around the features of normal pictures; **NSA** paints, and a picture's score is the mean of what was painted; **DRAEM** first restores the picture and lets a second network compare both. Below the first two have frozen features under a learning head, *another method than the papers'*, and DRAEM is the real thing, both of its networks from nothing, at 64 pixels, an eighth of a sixteenth of the paper's width and a tiny share of its steps. Watch what it has reached by then.

# %%
few = pick(scale, smoke=2, laptop=6)
own = efficientnet_lite0(stages=(8, 16), device=device())
steps, views = pick(scale, smoke=(2, 1), laptop=(25, 3))
ways = {
    "CutPaste, head": CutPaste(own, frozen=True, hidden=128, patch_size=None, epochs=few, steps=steps, batch_size=16, views=views, lr=3e-3, seed=seed),
    "NSA, head": NSA(own, frozen=True, width=32, epochs=3 * few, batch_size=16, lr=3e-3, seed=seed),
    "DRAEM, begun": DRAEM(sources.to(device()), 8, 8, epochs=few, lr=1e-3, seed=seed),
}  # fmt: skip
small = {
    True: lambda x: F.interpolate(x, (64, 64), mode="area"),
    False: lambda x: x,
}
alone, spent, curves = {}, {}, {}
for name, method in ways.items():
    smaller, started = small[name.startswith("DRAEM")], time.perf_counter()
    method.fit(smaller(train).to(device()))
    spent[name], curves[name] = time.perf_counter() - started, method.losses_
    both = {"planted": planted, "real": real}
    tops = {k: method.score(smaller(d.test).to(device())) for k, d in both.items()}
    alone[name] = {k: 100 * image_auroc(tops[k].image_scores.cpu(), d.labels) for k, d in both.items()}  # fmt: skip

# %% tags=["hide-input"]
print_of = ledger.printed("benchmark", "Table 1", "mvtec_ad", "image_auroc")["mean"]
alone = pd.DataFrame(alone).T
alone.insert(
    0, "printed, MVTec AD", [print_of[n] for n in ("cutpaste", "nsa", "draem")]
)
plotting.table(alone, caption="Image AUROC (%): printed means of Table 1, from other data and full trainings; and what these short ones reach on planted and on real defects", formats="{:.1f}")  # fmt: skip
fallen = {k: pd.DataFrame([np.array(v) / v[0]], columns=range(1, len(v) + 1)) for k, v in curves.items()}  # fmt: skip
plotting.curves({"": fallen}, "epoch", "loss, first epoch = 1")
ledger.record("p24_alone", alone["real"].to_dict(), tolerance=0.9)
ledger.record(
    "p24_loss", {k: v[-1] / v[0] for k, v in curves.items()}, tolerance=0.9
)
ledger.record("p24_draem_steps", few * -(-n_train // 8))

# %% tags=["remove-input"]
ledger.say("On real defects DRAEM's own networks are at {p24_alone[DRAEM, begun]:.0f} % after {p24_draem_steps} steps (the paper takes 700 epochs), while the decoder that learnt from the same paint on frozen features is at {p24_table[DRAEM][real]:.0f} %: at this length of training, the defects are not what is missing.")  # fmt: skip

# %% [markdown]
# ## Paper against code
# | | the paper | public code | the book |
# |---|---|---|---|
# | CutPaste | ResNet18 from nothing, 256 epochs of 256 steps | none by the authors; the best-known one starts from ImageNet weights and trains 256 *steps* | both by arguments |
# | NSA | sizes, number of pieces, $k$ and $x_0$ set for each class | the same, and a background's grey level for each class | arguments; one setting for all |
# | NSA, blending | Poisson's equation | OpenCV, whose *mixed* mode compares $\lvert\partial_x - \partial_y\rvert$ | the longer gradient |
# | DRAEM, $\beta$ | share of the *picture* | anomalib: share of the *texture* | as the paper |
# | DRAEM, focal loss | all pixels count | anomalib: $\alpha = 1$, so normal pixels weigh nothing | as the paper |
#
# The constants of NSA are hand work on the very classes that are judged, and other methods do without. The last row can be computed. Take a picture without any defect and a network that calls all of it abnormal: what does each loss say?

# %%
logits = torch.tensor([-2.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
nothing, everything = (
    torch.full((1, 8, 8), v, dtype=torch.bool) for v in (False, True)
)


def of_abnormal_only(logits, masks):
    """The focal loss of one picture with α = 1: abnormal pixels weigh 1, normal ones 0."""
    there = logits[:, :, masks[0]][..., None]
    bad = torch.ones(1, there.shape[2], 1, dtype=torch.bool)
    share = there.shape[2] / masks.numel()
    return share * focal_loss(there, bad) if share else 0.0


asked_of = {"the paper's": focal_loss, "anomalib's": of_abnormal_only}
ledger.record(
    "p24_focal", {n: float(f(logits, nothing)) for n, f in asked_of.items()}
)
ledger.record("p24_focal_bad", {n: float(f(-logits, everything)) for n, f in asked_of.items()})  # fmt: skip

# %% tags=["remove-input"]
ledger.say("The paper's loss is {p24_focal[the paper's]:.2f}, anomalib's {p24_focal[anomalib's]:.2f}: false alarms are free there. For a defect that is missed both say the same ({p24_focal_bad[the paper's]:.2f} and {p24_focal_bad[anomalib's]:.2f}).")  # fmt: skip

# %% [markdown]
# ## What it costs
# Making a defect is cheap beside learning from it, and both are paid before the first picture is judged: a decoder of this size then costs less than the features under it.

# %% tags=["hide-input"]
costs = {"make a defect, ms": 1000 * making, "teach a decoder, s": teaching}
costs |= {f"train {name}, s": s for name, s in spent.items()}
ledger.record("p24_costs", costs, timing=True, bounds=(0, 1000))
plotting.table(pd.DataFrame({"here": costs}), caption="Times on this machine", formats="{:.1f}", timing=True)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("What does a network learn from defects made on purpose? To find more of the same: on solar cells a head on frozen features finds fresh ones of its own maker with {p24_best[own]:.0f} to {p24_best[own best]:.0f} % image AUROC, planted defects with {p24_best[planted]:.0f} % at best and real ones with {p24_best[real]:.0f} %, where a memory that never saw a defect has {p24_best[core planted]:.0f} and {p24_best[core]:.0f} %.", short=True)  # fmt: skip

# %% [markdown]
# - The loss on made defects is no measure of a detector. It can only be judged by defects that nobody made.
# - Makers differ in what they leave visible: a seam, a shade, or a foreign texture. A network takes the easiest way.
# - A maker that changes places teaches about places. What is wrong with the whole picture it does not teach; that a memory of patches finds many of those kinds here says that they, too, leave something at a place.
# - Heads on frozen features are stand-ins. How the papers' networks rank after full trainings this page does not say.
#
# ## Exercise
# In one dimension Poisson's equation is $f'' = p''$ with $f$ given at both ends. A picture is 1 at the left end and 7 at the right; the patch is $p = (5, 6, 8, 9, 9)$, and its first and last value lie on these ends. Work out the three values inside. What is added to the patch?

# %% [markdown]
# ### Solution
# $f - p$ has no second difference, so it is a straight line: from $1 - 5 = -4$ to $7 - 9 = -2$. Hence $f = p + (-4, -3.5, -3, -2.5, -2) = (1, 2.5, 5, 6.5, 7)$. Blending adds the smoothest thing that takes the seam away; in a picture it is a harmonic function in the place of the line.

# %% tags=["hide-input"]
patch = np.array([5.0, 6, 8, 9, 9])
right = np.diff(patch, 2) - np.array([1.0, 0, 7])
inside = np.linalg.solve(np.diag([-2.0] * 3) + np.diag([1.0] * 2, 1) + np.diag([1.0] * 2, -1), right)  # fmt: skip
ledger.record("p24_exercise", inside)
itself = poisson_blend(train[0], train[0][:, 8:40, 8:44], (8, 8))
ledger.record("p24_itself", float((itself - train[0]).abs().max()), below=1e-4)

# %% tags=["remove-input"]
ledger.say("Computed: {p24_exercise[0]:.1f}, {p24_exercise[1]:.1f}, {p24_exercise[2]:.1f}. A piece of a picture, blended back where it came from, changes nothing.")  # fmt: skip
