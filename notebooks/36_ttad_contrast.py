# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TTAD: what contrast does
#
# The corruption that is hardest in print takes nothing away that one multiplication would not bring back. What does it do to a distance, and why does a rival that never adapts shrug it off?
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 4.2 and 4.3, Table 1. One claim is tested. **ttad-06**: a method trained with contrast-like augmentation (GNL)
# stays ahead of TTAD on contrast. The data are others than the paper's, so this tests the claim and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdict's seeds: smaller ones were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: the one that OTAD_DATA names

# %% tags=["hide-input"]

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from otad import ledger, plotting
from otad.data.drawn.corruptions import KINDS
from otad.data.packaged import solar
from otad.data.readers.locations import use_location
from otad.methods.distillation.teacher import efdm
from otad.methods.memory.ttad import distances
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device
from otad.studies import reading, runner, ttad_qualitative as study
from otad.studies.shifted import NOTHING

if scale == "paper":
    use_location(data_folder, "mvtec_ad")  # says what is missing

# %% [markdown]
# ## Pictures, and who looks at them
#
# The first class of page [35](35_ttad_qualitative), monocrystalline solar cells with planted defects, at severity 5, and its four ways to look: **PatchCore**, unadapted; **TTAD**; reverse distillation, **RD**; and **GNL**, which is RD with
# two additions. *Consistency*: while training, what the student makes of a picture and of an altered view of it are pulled together. *EFDM*: at test time the sorted values of each early feature channel are exchanged for those of a training
# picture.
#
# Numbers over seeds are stored (a study, `otad.studies.ttad_qualitative`: a cell is a class, a seed and a method); what is drawn here is of the first seed, and live.

# %%
grid = study.setting(scale)
first, n_seeds, side = study.classes(scale)[0], study.n_seeds(scale), grid["side"]
data = study.pictures(first, seed, scale)
shifted, masks = dict(study.conditions(data.test, seed)), data.masks.numpy()
memory = study.learnt("PatchCore", data.train.to(device()), seed, scale)
key, live = {"class": first, "seed": seed, "method": "PatchCore"}, []
for condition, images in shifted.items():
    ((match, scored),) = study.looks("PatchCore", memory, images)
    live.append(key | study.row(condition, match, scored, data))
if scale == "laptop":
    stored = ledger.stored("ttad_qualitative")
    rows = stored.value
else:
    cells = study.cells(scale)
    rows = [r for cell in cells for r in runner.rows_of(study.STUDY, scale, cell)]
frame = pd.DataFrame(rows)
scores = frame[frame["seed"] >= study.FIRST_SEED]  # no verdict sees held-out seeds

# %% tags=["remove-input"]
if scale == "laptop":
    ledger.say(stored.sentence(runner.code(study.STUDY)))
    pair = 100 / (grid["n_good"] * 3 * grid["n_each"])  # of pictures, exchanged
    ledger.agreement("36", live, rows, ["class", "seed", "condition", "method", "EFDM"], ["image", "pixel"], (), lambda row: True, pair)  # fmt: skip
ledger.say(solar.NOTICE)

# %% [markdown]
# ## Nothing is lost, until it is stored
#
# Contrast 5 keeps a twentieth: $x \mapsto 0.05\,(x-\bar x)+\bar x$, with $\bar x$ the mean of the picture. As a formula it is the mildest of the four. It draws nothing at random, mixes no pixels and clips nothing; multiply by twenty, and
# the picture is back. Unless it was stored.


# %%
def stretched(images, clean):
    """Undo contrast 5, given the mean of the clean picture."""
    mean = clean.mean(dim=(2, 3), keepdim=True)
    return ((images - mean) / 0.05 + mean).clamp(0, 1)


faint, stored_faint = shifted["contrast"], shifted[study.BYTES]
VERSIONS = {
    "clean": data.test,
    "contrast": faint,
    "contrast, stretched": stretched(faint, data.test),
    "bytes, stretched": stretched(stored_faint, data.test),
}
found = {name: memory.score(x.to(device())) for name, x in VERSIONS.items()}

# %%
undone = {}
for name, images in VERSIONS.items():
    few = stored_faint if name.startswith("bytes") else images
    span = images.amax((1, 2, 3)) - images.amin((1, 2, 3))
    undone[name] = {
        "range": float(span.mean()),
        "grey levels": int(np.median([len(x[0].unique()) for x in few])),
        "image AUROC": 100
        * image_auroc(found[name].image_scores.cpu(), data.labels),
        "pixel AUROC": 100 * pixel_auroc(found[name].maps.cpu(), data.masks),
    }
undone = pd.DataFrame(undone).T.astype({"grey levels": int})
said = "PatchCore, unadapted, first seed; grey levels: the median picture's number"
formats = {"range": "{:.2f}", "image AUROC": "{:.1f}", "pixel AUROC": "{:.1f}"}
plotting.table(undone, said, formats=formats)

# %% tags=["hide-input"]
ledger.record("p36_undone", undone.T.to_dict(), tolerance=0.02)
i = int(np.flatnonzero(masks.any((1, 2)))[0])  # the first defective picture
versions = {name: scored.maps.cpu().numpy() for name, scored in found.items()}
limits = {
    "vmin": min(m.min() for m in versions.values()),
    "vmax": max(m.max() for m in versions.values()),
}
fig, axes = plt.subplots(2, 4, figsize=(plotting.WIDTH, 4.4), layout="constrained")
for k, (name, images) in enumerate(VERSIONS.items()):
    plotting.draw(
        axes[0, k], images[i].permute(1, 2, 0).numpy(), name, vmin=0, vmax=1
    )
    drawn = plotting.draw(axes[1, k], versions[name][i], **limits)
axes[1, 0].set_ylabel("distance to the memory")
fig.colorbar(drawn, ax=axes[1], shrink=0.8, aspect=15)
plotting.show(fig, "A solar cell clean, at contrast 5, stretched back from floats and stretched back from bytes, with PatchCore's map of each on one colour scale. Floats stretched back look like the clean cell and so does their map; bytes stretched back show steps of grey.")  # fmt: skip
ledger.say("As floats, nothing was lost: stretched back, PatchCore has {p36_undone[contrast, stretched][image AUROC]:.1f} again, where the faint picture has {p36_undone[contrast][image AUROC]:.1f}. Bytes keep {p36_undone[bytes, stretched][grey levels]:.0f} grey levels of the median cell and give {p36_undone[bytes, stretched][image AUROC]:.1f} (pixels: {p36_undone[bytes, stretched][pixel AUROC]:.1f}, floats {p36_undone[contrast, stretched][pixel AUROC]:.1f}). So the paper's explanation, *low visibility of defects*, is true of eyes. As long as nobody rounds, the defects are in the file, and one multiplication brings them back. What fails is the feature extractor.")  # fmt: skip

# %% [markdown]
# How does it fail? Three distances between patch features, each as a multiple of its clean value: of a patch to the memory, normal and anomalous apart; and of two random patches *of the same picture* to each other. Then, in units of the
# clean distance to the memory, how far a patch has *moved* from its own clean self, and how long the mean of these moves is over a picture: what its patches have *moved together*.


# %%
def patches(images):
    """Features (N, patches, C), one row of patches a picture."""
    points = memory.patches(images.to(device())).cpu()
    return points.view(len(images), -1, points.shape[-1])


# %%
marked = F.avg_pool2d(data.masks[:, None].float(), 8).flatten(1)
rng = torch.Generator().manual_seed(seed)
pair, apart = torch.randperm(marked.shape[1], generator=rng), {}
own = patches(data.test)
for condition, images in shifted.items():
    z = patches(images)
    d = distances(z.flatten(0, 1), memory.memory_.cpu()).amin(1).view(len(z), -1)
    found = {
        "to memory, normal": d[marked == 0],
        "to memory, anomalous": d[marked >= 0.25],
        "within a picture": (z - z[:, pair]).norm(dim=2),
        "moved": (z - own).norm(dim=2),
        "moved together": (z - own).mean(1).norm(dim=1),
    }
    apart[condition] = {
        name: float(values.mean()) for name, values in found.items()
    }
unit = dict(apart["clean"])
unit |= dict.fromkeys(("moved", "moved together"), unit["to memory, normal"])
apart = pd.DataFrame(apart).T / pd.Series(unit)
ledger.record("p36_apart", apart.T.to_dict(), tolerance=0.05)
said = "Mean distances, in units of the clean one; first seed"
plotting.table(apart, said, formats="{:.2f}")

# %% tags=["remove-input"]
ledger.say("**Distances grow and shrink at once.** Under contrast a normal patch is {p36_apart[contrast][to memory, normal]:.1f} times as far from the memory as it was, and an anomalous one {p36_apart[contrast][to memory, anomalous]:.1f} times, while two patches of one picture are {p36_apart[contrast][within a picture]:.2f} times as far apart. A picture moves off, by {p36_apart[contrast][moved]:.1f} units a patch of which {p36_apart[contrast][moved together]:.1f} are common to all its patches, to where flat grey lives, and huddles there. The difference between a defect and its surroundings is a distance *within* a picture, and the trip has become the larger of the two. Brightness is as long a trip, {p36_apart[brightness][moved]:.1f} units, but leaves {p36_apart[brightness][within a picture]:.2f} of the distances within: a cloud that has been moved can be moved back, which is what TTAD does best, and a cloud that has been crushed has to be blown up as well. Noise moves by {p36_apart[gaussian noise][moved]:.1f} and crushes to {p36_apart[gaussian noise][within a picture]:.2f}. (Blur does not fit in: it leaves {p36_apart[defocus blur][within a picture]:.2f}, and is hard because the fine structure has left the picture.)")  # fmt: skip

# %% [markdown]
# ## GNL shrugs it off
#
# Table 1 of the paper for the methods of this page, and ours. In print GNL leads on contrast by a little; RD4AD, from which it is built, has no such lead.

# %%
ORDER, WAYS = ["clean", *KINDS], list(study.WAYS)
PRINTED = dict(zip(("patchcore", "rd4ad", "ttad", "gnl"), WAYS, strict=True))
of = {"paper": "ttad", "table": "Table 1"}


def printed(dataset):
    found = ledger.by_setting("corruption", dataset=dataset, **of)
    return found.rename(index=PRINTED).loc[WAYS, ORDER]


wanted = [*ORDER, study.BYTES]
by_class = list(study.named(frame).groupby("class", sort=False))
image = {c: reading.means(part, "image", WAYS, wanted) for c, part in by_class}
said = f"Image AUROC (%), severity 5: MVTec AD in print, here mean over {n_seeds} seeds"
plotting.beside(
    printed("mvtec_ad"), image[first][ORDER], caption=said, shows=["ttad Table 1"]
)
rest = {"Real-IAD, printed": printed("realiad")}
rest |= {name: own[ORDER] for name, own in image.items() if name != first}
rest = pd.concat(rest, names=["class", "method"]).reset_index()
plotting.table(
    rest, formats="{:.1f}", folded="Real-IAD in print, and the other classes"
)

# %% tags=["remove-input"]
ledger.record("p36_image", {f"{c}: {w}": row.to_dict() for c, own in image.items() for w, row in own.iterrows()}, tolerance=0.02)  # fmt: skip
ahead = {d: int((own.loc["TTAD", list(KINDS)] > own.loc["RD", list(KINDS)]).sum()) for d, own in (("mvtec_ad", printed("mvtec_ad")), ("realiad", printed("realiad")), ("here", image[first]))}  # fmt: skip
ledger.record(
    "p36_over_rd",
    {
        "here": ahead["here"],
        "print": ahead["mvtec_ad"] + ahead["realiad"],
        "of": len(KINDS),
    },
)
ledger.say("Not only GNL is ahead. Plain reverse distillation, which adapts to nothing, is beaten by TTAD in {p36_over_rd[print]} of 8 cells in print, and in {p36_over_rd[here]} of {p36_over_rd[of]} here on planted defects: with this network a cosine between teacher and student survives such shifts better, in as many of them as that leaves, than a distance to a memory does, adapted or not. (TTAD learns at the printed rate here; page 33 gives it the one that held-out seeds choose.)")  # fmt: skip

# %% [markdown]
# GNL's views are altered as in AugMix, by random chains of operations. The authors' list for MVTec AD has AutoContrast in it, which TTAD's authors call an unfair advantage. So four recipes of training, each asked with and without EFDM;
# together they tell what an advantage is made of, and which of the two additions it is. *No stretching* leaves AutoContrast and Equalize out of the altered views; *contrast too* puts contrast and brightness in, which is to tell the answer
# (as far as 0.12 of the contrast; the test has 0.05).

# %%
for recipe, arguments in study.RECIPES.items():
    print(f"{recipe:19}", arguments)

# %%
kept = scores[(scores["class"] == first) & scores["method"].isin(study.RECIPES)]
told = kept["EFDM"].map({False: ", EFDM no", True: ", EFDM yes"})
recipes = [f"{m}, EFDM {e}" for m in study.RECIPES for e in ("no", "yes")]
kept = kept.assign(method=kept["method"] + told)
parts = reading.means(kept, "image", recipes, wanted)
ledger.record("p36_parts", parts.T.to_dict(), tolerance=0.02)
said = f"Image AUROC (%), planted defects, mean over {n_seeds} seeds"
plotting.table(parts.rename_axis(None), said, formats="{:.1f}")

# %%
wide = scores.pivot_table(
    index=["class", "seed"], columns=["condition", "method", "EFDM"], values="image"
)
SETTINGS = {
    "EFDM": (("RD", True), ("RD", False)),
    "views": (("GNL", False), ("RD", False)),
    "views, with EFDM": (("GNL", True), ("RD", True)),
    "EFDM under noise": (("RD", True), ("RD", False)),
    "stretching": (("GNL", False), ("GNL, no stretching", False)),
    "stretching, with EFDM": (("GNL", True), ("GNL, no stretching", True)),
    "being told": (("GNL, contrast too", False), ("RD", False)),
}
own, gained = wide.loc[first], {}
for name, (more, less) in SETTINGS.items():
    of = own["gaussian noise" if "noise" in name else "contrast"]
    if less in of and more in of:
        gained[name] = of[more] - of[less]
gained = {name: gap.dropna() for name, gap in gained.items() if gap.count() > 1}
gained = pd.concat(gained, names=["what", "seed"]).to_frame("points")
said = "Image AUROC gained, under contrast unless said; planted defects"
effects = plotting.intervals(gained, said)["points"].to_dict()

# %% tags=["remove-input"]
ledger.record("p36_effects", effects, tolerance=0.1)
ledger.say("Exchanging values for those of a training picture gains {p36_effects[EFDM][0]:+.1f} points [{p36_effects[EFDM][1]:+.1f}, {p36_effects[EFDM][2]:+.1f}] on a student that has never seen an altered view. Altered views without EFDM are worth {p36_effects[views][0]:+.1f} [{p36_effects[views][1]:+.1f}, {p36_effects[views][2]:+.1f}], and on top of EFDM {p36_effects[views, with EFDM][0]:+.1f} [{p36_effects[views, with EFDM][1]:+.1f}, {p36_effects[views, with EFDM][2]:+.1f}]. **The lead is made at test time.** The reason is in the section above: contrast is a monotone change of values, and matching sorted values undoes monotone changes. Noise is not one, and there no gain can be told: {p36_effects[EFDM under noise][0]:+.1f} [{p36_effects[EFDM under noise][1]:+.1f}, {p36_effects[EFDM under noise][2]:+.1f}]. Blur is not one either, and the table above has what the exchange does there, so that this need not be the whole reason.")  # fmt: skip
if "stretching" in effects:
    ledger.say("And the *unfair advantage*? Stretching among the altered views is worth {p36_effects[stretching][0]:+.1f} points [{p36_effects[stretching][1]:+.1f}, {p36_effects[stretching][2]:+.1f}] without EFDM and {p36_effects[stretching, with EFDM][0]:+.1f} [{p36_effects[stretching, with EFDM][1]:+.1f}, {p36_effects[stretching, with EFDM][2]:+.1f}] with it; being told the answer outright {p36_effects[being told][0]:+.1f} [{p36_effects[being told][1]:+.1f}, {p36_effects[being told][2]:+.1f}]. Here, at least, GNL does not owe its lead to AutoContrast. What it does need, and TTAD does not, is a training picture at test time: one.")  # fmt: skip

# %% [markdown]
# ## Verdict
#
# GNL less TTAD under contrast of severity 5, planted defects, from the stored rows. The TTAD that is judged is page 33's, at the rate that held-out seeds choose. Seeds that have both are judged.

# %%
lead = wide["contrast"]["GNL", True] - wide["contrast"]["TTAD", False]
on_bytes = wide[study.BYTES]["GNL", True] - wide[study.BYTES]["TTAD", False]
beside = {
    k: v.groupby("class", sort=False).mean().to_dict()
    for k, v in (("lead", lead), ("lead_bytes", on_bytes))
}
if scale == "laptop":  # the TTAD of page 33, at its best rate
    asked = "phase == 'judged' and `class` == @first and method == 'TTAD'"
    asked += " and condition == 'contrast' and severity == 5"
    best = pd.DataFrame(ledger.stored("ttad_results").value).query(asked)
    best = best.set_index("seed")
for name, of_class in beside.items():
    ledger.record(f"p36_{name}", of_class, tolerance=0.05)

# %% tags=["hide-input"]
flagged = [f"{v:+.1f}" for c, v in beside["lead"].items() if c != first]
flagged = (
    f", on the flagged class, unrounded, by {', '.join(flagged)}" if flagged else ""
)
margins = lead[
    first
].dropna()  # a seed whose cells are not all there judges nothing
steps = "TTAD with as many steps as the paper."
if scale == "laptop":
    steps = f"TTAD is page 33's: thirty steps (the paper: about 120) at {best['lr'].iloc[0]:g}; over this page's, at the printed rate, with contrast unrounded, GNL leads by {margins.mean():+.1f}."
    margins = (wide["contrast"]["GNL", True][first] - best["image"]).dropna()
why = f"Over this page's TTAD GNL leads by {beside['lead_bytes'][first]:+.1f} with contrast stored as bytes{flagged}. GNL at laptop scale: EfficientNet-Lite0, a small student; not MVTec AD. {steps}"
if "views, with EFDM" in effects:
    why += f" The claim's reason, contrast-like augmentation, is not what we find: EFDM on plain reverse distillation already gains {effects['EFDM'][0]:+.1f} points, the altered views on top of it {effects['views, with EFDM'][0]:+.1f}."
if len(margins) < 2:
    ledger.undecided("ttad-06", "fewer than two seeds have both methods; `make results STUDIES=ttad_qualitative` computes the others", why)  # fmt: skip
else:
    draws = (
        "a seed draws the cells, the damage, the memory, the student and the views"
    )
    ledger.verdict("ttad-06", {"contrast: GNL > TTAD": margins.tolist()}, draws, "points of image AUROC", why, **NOTHING)  # fmt: skip
    plotting.margins({"ttad-06": ledger.recorded("verdict ttad-06")}, "points of image AUROC", effects={"ttad-06": 1.0})  # fmt: skip

# %% [markdown]
# ## Paper against code
#
# The appendix finds that *all methods yield the worst performance on contrast*; in Table 1, above, GNL on MVTec AD does not.
#
# TTAD's code is not public, **GNL's** is. TTAD's text says that EFDM takes *randomly sampled* training pictures; the code takes one, the first file of the training folder, for all. (Ours: one, drawn by the seed.) GNL's authors corrupt with severity 3, TTAD with
# 5. Their list of operations for MVTec AD contains AutoContrast and Equalize, as TTAD's authors say, but not contrast or brightness, which are marked as overlapping with the test corruptions and are used on another data set. A second view,
# in grey, is left out here: cells are grey. Cosines are taken of whole maps, flattened, in the code, and place by place in the paper of reverse distillation and here.

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Does a rival that moves no parameter at test time stay ahead under contrast? On solar cells GNL leads TTAD, at the printed learning rate (the verdict takes its best), in image AUROC by "
    + "; ".join(
        f"{lead:+.1f} points ({name})"
        for name, lead in ledger.recorded("p36_lead").items()
    )
    + ".",
    short=True,
)

# %% [markdown]
# ## Exercise
#
# If matching values is all it takes, PatchCore can have it without a student, without features and without adapting: give every *pixel* the value of its rank in a training picture (`efdm` with $\alpha=1$), and score. What will that do to
# contrast, to bytes, to brightness, to noise, and to a clean picture?

# %% [markdown]
# ### Solution
#
# Contrast is undone, and clean pictures lose nothing: one cell's histogram is much like another's, and a small defect hardly shows in it. (A large one would, and be painted over.) Bytes come back less well, because the order within a grey
# level is invented. Brightness is monotone, too, except where it has clipped: there half the picture is one tie. Noise with other values is still noise.

# %%
solution = {}
for condition, images in shifted.items():
    matched = efdm(images, data.train[:1], 1.0)
    of = own.loc[seed, condition]
    undo = memory.score(matched.to(device())).image_scores.cpu()
    solution[condition] = {
        "PatchCore": float(of["PatchCore", False]),
        "PatchCore, pixels matched": 100 * image_auroc(undo, data.labels),
        "TTAD": float(of["TTAD", False]),
        "GNL": float(of["GNL", True]),
    }
solution = pd.DataFrame(solution).T
ledger.record("p36_solution", solution.T.to_dict(), tolerance=0.02)
said = "Image AUROC (%), planted defects, first seed"
plotting.table(solution, said, formats="{:.1f}")

# %% tags=["remove-input"]
ledger.say("A sort, and contrast is at {p36_solution[contrast][PatchCore, pixels matched]:.1f}, with no learning at all. The four corruptions of the benchmark ask for four different repairs; a method that knows none of them, as TTAD promises, is measured against ones that happen to know one.")  # fmt: skip
