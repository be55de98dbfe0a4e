# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Benchmark: students and teachers
#
# A student learns to imitate a teacher, and sees nothing but normal pictures while it does. Where it fails later, something is new. What can a student not imitate, and does it matter how it is taught?
#
# *Benchmarking Unsupervised Anomaly Detection and Localization*, rows RD4AD and Glance of Tables 1 and 2; and STPM, KDAD and UniAD, rivals in the other papers of this book. The pictures are drawn: a transistor on its board, small, so that five students can be trained while the page runs. No printed value is reproduced.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn import scenes
from otad.features.pretrained import efficientnet_lite0
from otad.methods import KDAD, STPM, Glance, ReverseDistillation, UniAD
from otad.methods.distillation.reverse_distillation import flattened_gap, gap
from otad.methods.distillation.stpm import pyramid_loss, untrained
from otad.methods.distillation.teacher import teach
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies import imitation as study

# %% [markdown]
# ## Five kinds of student
# All of them look at the maps $t_l$ of a frozen teacher at some levels $l$, and make maps $s_l$ that ought to be the same.
#
# | | what the student sees | what keeps it from copying | where it fails |
# |---|---|---|---|
# | **STPM** (Wang et al., 2021) | the picture | it never saw anything else than normal pictures | $\tfrac12 \lVert t/\lVert t\rVert - s/\lVert s\rVert \rVert^2$, multiplied over levels |
# | **KDAD** (Salehi et al., 2021) | the picture | and it is much smaller than its teacher | the gradient, in the pixels, of $1 - \cos$ and squared differences |
# | **RD4AD** (Deng and Li, 2022) | the teacher's own maps, squeezed into a code | the squeeze | $1 - \cos(t, s)$, added up over levels |
# | **Glance** (Wang et al., 2021) | what is around a place, but not the place | the hole | what the patch says against what its surroundings say |
# | **UniAD** (You et al., 2022) | all places but a place's neighbours | the mask of its attention | $\lVert t - s \rVert$ |
#
# The first two are given the picture and lack experience, the other three are given the features and lack a way to pass them on. STPM and RD4AD forget how large a feature is and compare directions alone. Glance has no public code: ours is a reconstruction, and its patches are cut from maps.

# %%
side, counts = pick(scale, smoke=(64, (10, 4, 1)), laptop=(64, (48, 24, 6)))
data = scenes.load("transistor", side, *counts, seed=seed)
normal, pictures = data.train.to(device()), data.test.to(device())
teacher = efficientnet_lite0(stages=(4, 8, 16), device=device())
coarse = efficientnet_lite0(stages=(8, 16), device=device())


def times(n):
    return pick(scale, smoke=1, laptop=n)


students = {
    "STPM": STPM(teacher, epochs=times(12), batch_size=16, sigma=2.0, seed=seed),
    "KDAD": KDAD(teacher, epochs=times(16), batch_size=16, sigma=2.0, seed=seed),
    "RD4AD": ReverseDistillation(teacher, width=16, epochs=times(12), sigma=2.0, seed=seed),
    "Glance": Glance(coarse, epochs=times(20), sigma=2.0, seed=seed),
    "UniAD": UniAD(teacher, (8, 8), window=3, hidden=64, heads=4, layers=1, feedforward=128, standardise=True, epochs=times(40), lr=1e-3, seed=seed),
}  # fmt: skip

# %%
scored, spent = {}, {}
for name, student in students.items():
    started = time.perf_counter()
    student.fit(normal)
    spent[name] = time.perf_counter() - started
    scored[name] = student.score(pictures)

# %% [markdown]
# ## One picture through all of them, level by level
# The picture is the defective one whose rank, averaged over the five, is best: an example on which there is something to see. Each level has its own scale here, from the smallest value over all good pictures to the largest over the whole test set. Look at what a fine level finds and a coarse one does not.

# %%
tops = pd.DataFrame({n: s.image_scores.cpu().numpy() for n, s in scored.items()})
one = int(tops.rank().mean(axis=1).where(data.labels.numpy()).idxmax())
steps = {n: study.levels(s, pictures) for n, s in students.items()}
steps = {n: {k: m.cpu() for k, m in parts.items()} for n, parts in steps.items()}

# %% tags=["hide-input"]
fig, axes = plt.subplots(5, 5, figsize=(plotting.WIDTH, 9), layout="constrained")
for row, (name, parts) in zip(axes, steps.items(), strict=True):
    for ax in row:
        ax.axis("off")
    row[0].axis("on")
    plotting.draw(row[0], np.moveaxis(data.test[one].numpy(), 0, -1))
    row[0].set_ylabel(name)
    row[0].contour(data.masks[one], levels=[0.5], colors=plotting.OUTLINE)
    for ax, (title, maps) in zip(row[1:], parts.items(), strict=False):
        low = float(maps[~data.labels].min())
        plotting.draw(ax, maps[one], title, vmin=low, vmax=float(maps.max()))
    whole = scored[name].maps.cpu()
    plotting.draw(row[4], whole[one], "map", vmin=float(whole.min()), vmax=float(whole.max()))  # fmt: skip
inside = {n: bool(data.masks[one].flatten()[s.maps[one].argmax().cpu()]) for n, s in scored.items()}  # fmt: skip
told = ", ".join(n for n, yes in inside.items() if yes) or "none of them"
plotting.show(fig, alt=f"Five rows, a method each: a transistor with an outlined defect ({data.kinds[one].replace('_', ' ')}), what the student fails at on each level, and the final map. The largest value of the map lies in the defect for {told}.")  # fmt: skip

# %% [markdown]
# In numbers, over all test pictures. *Structural* defects spoil how a place looks, *logical* ones put a right thing in a wrong place or pose. One might think that a student, who has only seen how places look, misses the second sort. A level's score is its largest value, before any smoothing.

# %%
logical = torch.tensor([k in scenes.LOGICAL["transistor"] for k in data.kinds])
sorts = {"structural": ~logical, "logical": logical | ~data.labels}
areas = data.masks.float().mean((1, 2))
areas = {
    sort: 100 * float(areas[w & data.labels].median()) for sort, w in sorts.items()
}
ledger.record("p23_areas", areas)


def auroc(values, which=None):
    which = torch.ones_like(data.labels) if which is None else which
    return 100 * image_auroc(values.cpu()[which], data.labels[which])


rows = {}
for name, s in scored.items():
    rows[name] = {sort: auroc(s.image_scores, w) for sort, w in sorts.items()}
    rows[name]["pixel"] = 100 * pixel_auroc(s.maps.cpu(), data.masks)
    each = {k: auroc(m.amax((1, 2))) for k, m in steps[name].items()}
    rows[name]["each level alone"] = ", ".join(f"{v:.0f}" for v in each.values())
table = pd.DataFrame(rows).T
by_level = {n: [auroc(m.amax((1, 2))) for m in steps[n].values()] for n in ("STPM", "RD4AD")}  # fmt: skip

# %% tags=["hide-input"]
words = [*sorts, "pixel"]
plotting.table(table.assign(**{c: table[c].astype(float) for c in words}), caption="AUROC (%): image, by sort of defect; pixel; and image AUROC of each level alone, finest first (Glance: its two opinions)", formats="{:.0f}")  # fmt: skip
print_of = {"RD4AD": ("Table 1", "image_auroc", "rd4ad"), "Glance": ("Table 2", "pixel_auroc", "glance")}  # fmt: skip
print_of = {n: float(ledger.printed("benchmark", t, "mvtec_ad", m).loc[k, "mean"]) for n, (t, m, k) in print_of.items()}  # fmt: skip
ledger.record("p23_printed", print_of)
ledger.record("p23_table", {n: {c: float(table.loc[n, c]) for c in words} for n in table.index}, tolerance=0.5)  # fmt: skip
ledger.record("p23_levels", by_level, tolerance=0.5)
means = {c: float(table[c].astype(float).mean()) for c in words}
best = table["structural"].astype(float)
ledger.record("p23_means", means | {"best": float(best.max())}, tolerance=0.5)

# %% tags=["remove-input"]
ledger.say("After these short trainings the five find structural defects with {p23_means[structural]:.0f} % on average (" + str(best.idxmax()) + " with {p23_means[best]:.0f}), logical ones with {p23_means[logical]:.0f} %. Half of the structural defects cover {p23_areas[structural]:.1f} % of the picture or less, half of the logical ones {p23_areas[logical]:.1f} %: what counts is how much of the picture is new at its place, and a student of aligned pictures has never seen a leg anywhere else. The levels of STPM alone have {p23_levels[STPM][0]:.0f}, {p23_levels[STPM][1]:.0f} and {p23_levels[STPM][2]:.0f} %, those of RD4AD {p23_levels[RD4AD][0]:.0f}, {p23_levels[RD4AD][1]:.0f} and {p23_levels[RD4AD][2]:.0f} %. The printed means over MVTec AD, of full trainings on other data, are {p23_printed[RD4AD]:.1f} (RD4AD, image) and {p23_printed[Glance]:.1f} (Glance, pixel, the lowest of its table).")  # fmt: skip

# %% [markdown]
# ## Flatten in the loss, not in the score
# RD4AD's paper has one loss, $1 - \cos$ at each place. Its code takes *one* cosine of a whole map, flattened to a vector of $C h w$ numbers, to learn, and judges place by place. Write $c_p$ for the cosine at a place. If student and teacher are equally loud (have vectors of the same length), the flattened cosine is a weighted mean,
#
# $$ \cos(t, s) = \sum_p w_p\, c_p, \qquad w_p = \frac{\lVert t_p \rVert^2}{\sum_q \lVert t_q \rVert^2}, $$
#
# so that loud places are learnt first; and where they are not equally loud, the student is told so, which $c_p$ never does. Double the student at half of the places: place by place nothing changes.

# %%
taught, asked = teach(teacher, normal), teach(teacher, pictures)
rebuilt = students["RD4AD"].student_(taught)[1]
louder = [torch.cat([2 * s[..., : s.shape[-1] // 2], s[..., s.shape[-1] // 2 :]], -1) for s in rebuilt]  # fmt: skip
losses = {"place by place": gap, "flattened": flattened_gap}
values = {
    n: [float(f(taught, s)) for s in (rebuilt, louder)] for n, f in losses.items()
}
plotting.table(pd.DataFrame(values, index=["the student", "half of it doubled"]).T, caption="Two losses of one student, on normal pictures", formats="{:.4f}")  # fmt: skip
ledger.record("p23_two_losses", values, tolerance=0.2)
ledger.record("p23_unmoved", abs(values["place by place"][1] - values["place by place"][0]), below=1e-4)  # fmt: skip
ledger.record("p23_loud", [study.loudest(m) for m in taught], tolerance=0.02)

# %% tags=["remove-input"]
ledger.say("Of this teacher's maps the loudest tenth of the places carries {p23_loud[0]:.0%}, {p23_loud[1]:.0%} and {p23_loud[2]:.0%} of the weight at strides 4, 8 and 16. Doubling half of the student leaves the paper's loss where it was, and takes the code's from {p23_two_losses[flattened][0]:.3f} to {p23_two_losses[flattened][1]:.3f}.")  # fmt: skip

# %% [markdown]
# ## The last epoch and the best one
# Which of the two losses is better to learn by? And how much is gained by looking? Students of both kinds, several seeds, judged after every second epoch: the band is over seeds of the student, pictures stay.

# %%
epochs = pick(scale, smoke=2, laptop=10)
seeds = range(seed, seed + pick(scale, smoke=2, laptop=3))
rows = []
for loss in ("places", "flattened"):
    for s in seeds:
        method = ReverseDistillation(
            teacher, width=16, loss=loss, epochs=epochs, seed=s
        )
        for epoch, (value, student) in enumerate(study.by_epoch(method, normal), 1):
            if epoch % 2 == 0:
                row = study.judged(student, asked, data.masks, data.labels)
                rows.append(
                    {"loss": loss, "seed": s, "epoch": epoch, "value": value} | row
                )
runs = pd.DataFrame(rows)

# %% tags=["hide-input"]
NAMES = {"places": "place by place (paper)", "flattened": "flattened (code)"}


def lines(column, loss):
    return runs[runs["loss"] == loss].pivot_table(index="seed", columns="epoch", values=column)  # fmt: skip


plotting.curves({"": {n: lines("AUROC", k) for k, n in NAMES.items()}}, "epoch", "image AUROC (%)")  # fmt: skip
plotting.curves({n: {c: lines(c, k) for c in ("good pictures", "defects")} for k, n in NAMES.items()}, "epoch", "1 − cos, all levels")  # fmt: skip
of_seed = runs.groupby(["loss", "seed"])["AUROC"].agg(["last", "max"])
gained = {k: {"last": float(of_seed.loc[k]["last"].mean()), "best": float(of_seed.loc[k]["max"].mean())} for k in NAMES}  # fmt: skip
ledger.record("p23_epochs", gained, tolerance=0.5)
end = runs[runs["epoch"] == runs["epoch"].max()].groupby("loss")[["good pictures", "defects"]].mean()  # fmt: skip
ledger.record("p23_contrast", {k: float(end.loc[k, "defects"] / end.loc[k, "good pictures"]) for k in NAMES}, tolerance=0.6)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Taught place by place the students end at {p23_epochs[places][last]:.1f} %, taught by the flattened cosine at {p23_epochs[flattened][last]:.1f} %. Each seed's best epoch averages {p23_epochs[places][best]:.1f} and {p23_epochs[flattened][best]:.1f} %: the gap to the last is what looking is worth, and by construction it is never negative. A student of the first kind is {p23_contrast[places]:.1f} times as far off on defects as on good pictures, one of the second {p23_contrast[flattened]:.1f} times; both learn to imitate defects too, only less.")  # fmt: skip

# %% [markdown]
# ## A loss that grows with the batch
# STPM's loss is a mean over pictures and places. anomalib's implementation adds up over the batch, ½ a picture:
#
# $$ \sum_l \frac{1}{h_l w_l} \sum_{n, p} \tfrac12 \lVert \hat t - \hat s \rVert^2 . $$
#
# Its gradient, and with plain gradient descent the step, grows with the number of pictures in a batch. Take one picture, a student that is untrained, and $B$ copies.


# %%
def anomalib_loss(taught, learnt):
    """The loss of anomalib's STFPM: a sum over the batch, a mean over places."""
    pairs = [(F.normalize(t, dim=1), F.normalize(s, dim=1)) for t, s in zip(taught, learnt, strict=True)]  # fmt: skip
    return sum(0.5 * (t - s).square().sum() / (t.shape[2] * t.shape[3]) for t, s in pairs)  # fmt: skip


twin = untrained(teacher, seed).eval()
found = []
for b in (1, 2, 4, 8, 16, 32):
    copies = [m[:1].expand(b, -1, -1, -1) for m in taught]
    learnt = [m.expand(b, -1, -1, -1) for m in twin(normal[:1])]
    official, theirs = (
        float(f(copies, learnt)) for f in (pyramid_loss, anomalib_loss)
    )
    found.append({"B": b, "mean (paper's code)": official, "anomalib": theirs})
found = pd.DataFrame(found).set_index("B")
ratio = found["anomalib"] / found["mean (paper's code)"] / found.index

# %% tags=["hide-input"]
plotting.table(found.assign(ratio=found["anomalib"] / found["mean (paper's code)"]), caption="The loss of B copies of one picture", formats="{:.3f}")  # fmt: skip
ledger.record("p23_ratio", float(ratio.mean()))
ledger.record(
    "p23_ratio_off", float((ratio - ratio.mean()).abs().max()), below=1e-4
)

# %% tags=["remove-input"]
ledger.say("anomalib's loss is {p23_ratio:.2f} · B times the other: equal for a batch of two, sixteen times as large for the paper's 32. A rate belongs to a loss, and the 0.4 of the paper to its mean.")  # fmt: skip

# %% [markdown]
# ## Paper against code
# | | the paper | public code | the book |
# |---|---|---|---|
# | STPM | | keeps the epoch with the least loss on a fifth of the *training* pictures | last epoch, all pictures |
# | STPM | a mean | anomalib: a sum over the batch | the mean |
# | RD4AD, loss | place by place | flattened | both by an argument |
# | RD4AD, epochs | | judges every tenth epoch, returns the last | the last |
# | KDAD | | learns on four levels, judges by three; maps are gradients | the same, by an argument |
# | UniAD | | keeps the epoch with the best pixel AUROC of the test pictures | the last |
# | Glance | | none | a reconstruction |
#
# The rule of STPM's code looks at normal pictures alone, and is honest. That of UniAD's looks at the answers.
#
# ## What it costs
# A student that is given the picture has to run a whole network backwards; one that is given features does not.

# %% tags=["hide-input"]
each = {n: spent[n] / s.epochs for n, s in students.items()}
costs = pd.DataFrame({"training, s": spent, "an epoch, s": each, "epochs": {n: s.epochs for n, s in students.items()}})  # fmt: skip
plotting.table(costs, caption=f"{len(normal)} pictures of {side} pixels on this machine", formats="{:.2f}", timing=True)  # fmt: skip
ledger.record("p23_costs", spent, timing=True, bounds=(0, 1000))

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("What can a student not imitate? On drawn transistors, after short trainings, five students find structural defects with {p23_means[structural]:.0f} % image AUROC on average, small as they are, and logical ones, which change more of the picture, with {p23_means[logical]:.0f} %. Taught by the flattened cosine of RD4AD's code a student ends at {p23_epochs[flattened][last]:.1f} %, place by place at {p23_epochs[places][last]:.1f} %, means of a few seeds.", short=True)  # fmt: skip

# %% [markdown]
# - Imitation fails by degrees. Students get better on defects as well, so the score is a contrast, and it is the *last* epoch's contrast that a user has.
# - Levels see different things: a fine one a scratch, a coarse one a part. To multiply them is to ask all of them to agree; to add them lets one be enough.
# - One word of code, *sum* in the place of *mean* or *flatten* before the cosine, is another loss. What it does to a result these short trainings cannot tell; values of the public code on a small input find such words, tables of AUROC do not.
#
# ## Exercise
# A map has two places and two channels: $t = ((3, 0), (0, 1))$ and $s = ((3, 0), (1, 0))$. How large are the two losses of RD4AD? Which place did the student get wrong, and which loss minds it more?

# %% [markdown]
# ### Solution
# Place by place the cosines are 1 and 0, so the loss is $\frac12 (0 + 1) = 0.5$. Flattened, the vectors are $(3, 0, 0, 1)$ and $(3, 0, 1, 0)$, each of squared length 10, with product 9: the loss is 0.1. The second place is wrong, and it is quiet: the flattened loss hardly minds.

# %% tags=["hide-input"]
t = torch.tensor([[3.0, 0], [0, 1]]).T.reshape(1, 2, 1, 2)
s = torch.tensor([[3.0, 0], [1, 0]]).T.reshape(1, 2, 1, 2)
ledger.record(
    "p23_exercise", [float(gap([t], [s])), float(flattened_gap([t], [s]))]
)

# %% tags=["remove-input"]
ledger.say("Computed: {p23_exercise[0]:.2f} and {p23_exercise[1]:.2f}.")
