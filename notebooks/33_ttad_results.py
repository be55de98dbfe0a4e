# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # TTAD: the results
#
# The light has changed, nobody has labelled anything, and the network is allowed to look at today's pictures before it judges them. How much of what was lost on page 30 does that bring back, and what does it break?
#
# *Test-Time Training for Out-of-Distribution Industrial Anomaly Detection via Robust Distribution Alignment* (TTAD), Sections 3.5 and 4.1 to 4.3, Algorithm 1, Tables 1 to 3 and what there is of Tables 5 to 7. Four claims are judged.
# **ttad-04**: aligning by a single Gaussian is worse than not adapting, in most cases. **ttad-05**: TTAD has the best image AUROC under noise, blur and brightness. **ttad-07**: under blur and brightness it comes within about two points of
# the clean score. **ttad-08**: it has the best pixel AUROC under all four corruptions. Claims about printed tables are checked on page [37](37_ttad_in_print). **ttad-06**, about the rival GNL, is judged on page [36](36_ttad_contrast). The
# data here are others than the paper's: this tests the claims and reproduces no printed value. (In the copy of the paper that was read, the body of Algorithm 1, Tables 5 and 7 and all but one block of Table 6 are lost.)

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds: 0 and 1 were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad or realiad; empty: the one that OTAD_DATA names
dataset = "mvtec_ad"  # or "realiad", of which the top views are used

# %% tags=["hide-input"]
import copy
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from otad import ledger, plotting
from otad.data.drawn.corruptions import KINDS
from otad.data.readers.locations import use_location
from otad.methods.memory import patchcore
from otad.methods.memory.ttad import assign, distances, draw_views, turn
from otad.methods.memory.ttad import transport_loss
from otad.scale import pick
from otad.studies import reading, runner, ttad_results as study, ttad_rivals as rivals  # fmt: skip
from otad.studies.shifted import FIRST, FLAGGED, NOTHING
from otad.studies.ttad_results import AS_PRINTED, RATES, RIVALS
from otad.transport import hard_plan, sinkhorn

if scale == "paper":
    use_location(data_folder, dataset)  # says what is missing

# %% [markdown]
# ## An arena, and what fits a laptop
#
# Page 30 fixed which classes may be used, and which of them decide: monocrystalline solar cells with **planted** defects, which have masks. The **real** defects of all designs passed as well, but there a design gives many of them away:
# they stand beside, flagged, and decide nothing. Page 30 also chose, on held-out seeds, the **matched severities**: those at which what an unadapted PatchCore loses is nearest to print (noise costs more even at its mildest). Verdicts are judged there. Severity 5, where
# images of our planted cells are near chance, stands beside.
#
# The sizes are cut so that the whole grid takes less than two hours of two idle cores: 128 pixels, 500 memory entries, thirty test pictures, half of them defective. Ten epochs, as in the paper; there an epoch has about twelve steps of ten
# pictures, here three, so **thirty in all**. At `scale="paper"` this page does so too: ten epochs over the whole test set of a class (one for Real-IAD), in batches of ten, nothing frozen, at severity 5, and with the one printed learning rate.

# %%
grid, SEVERITY = study.setting(scale, dataset), study.severities(scale)
print(grid, SEVERITY, n_seeds := study.n_seeds(scale), sep="\n")

# %% [markdown]
# ## The loop
#
# Algorithm 1 should stand here. The version that was read (the welcome page says which) lacks its body; Sections 3.3 to 3.5 describe it well enough to write it down. $\theta$ are the scales and shifts of batch norm, $\mathcal M$ is the
# memory, $z_i$ are the patches of a batch and its views, $\gamma^*$ is the plan of Equation 5 and $\pi^*$ its discrete version, Equation 6. The plan is held fixed while the loss is differentiated. One liberty: the sum of Equation 6 is
# divided by its number of links. As printed, it would be thousands of times larger, and so would be the steps.


# %%
def algorithm_1(ttad, target):
    """Yield the loss of each step."""
    net, memory = copy.deepcopy(ttad.backbone), ttad.memory_
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    theta = [p.requires_grad_(True) for layer in norms for p in layer.parameters()]
    sgd = torch.optim.SGD(theta, lr=ttad.lr, momentum=ttad.momentum)
    rng = torch.Generator().manual_seed(ttad.seed)
    for _ in range(ttad.epochs):
        for batch in torch.randperm(len(target), generator=rng).split(10):
            views = draw_views(len(batch), "flips", ttad.views, True, rng)
            pairs = zip(batch, views, strict=True)
            seen = [turn(target[i], int(v)) for i, of_i in pairs for v in of_i]
            z = patchcore.patch_features(net(torch.stack(seen)))
            z = z.movedim(1, -1).flatten(0, 2)
            gamma = assign(z.detach(), memory, "continuous")  # Eqs. 4 and 5
            pi = hard_plan(gamma)  # Eq. 6
            loss = transport_loss(z, memory, pi) / pi.sum()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            yield float(loss.detach()), int(pi.sum()), len(z)


# %% [markdown]
# The package does the same with a few savings. Ten pictures, two epochs, nothing frozen: the losses must agree.

# %%
first = FIRST if scale != "paper" else study.categories(dataset)[0]
data, ttad = study.fitted(first, seed, scale, dataset)
bright = {"condition": "brightness", "severity": 5, "seed": seed}
images = study.shifted(data, bright)
unfrozen = replace(ttad, frozen=0, epochs=2)
by_hand = list(algorithm_1(unfrozen, images[:10]))
package = unfrozen.adapt(images[:10]).losses_
gap = max(abs(a[0] / b - 1) for a, b in zip(by_hand, package, strict=True))
if gap > (1e-2 if images.is_cuda else 1e-3):  # a card may keep ten bits
    raise AssertionError(f"the loop and the package differ by {gap:.1e}")
loop = pd.DataFrame(by_hand, columns=["loss", "links", "patches"])
loop = loop.assign(package=package)
ledger.record("p33_loop_gap", gap, below=1e-4)
said = "Algorithm 1 by hand and by the package: mean distance along the links"
plotting.table(loop, said, ["ttad Algorithm 1"], "{:.3f}")

# %% [markdown]
# ## The contestants
#
# All are PatchCore's memory with an adapted network in front of it. **PatchCore** does not adapt. **TTT++** matches means and covariances of all patches, **TTAC** takes the KL divergence of two Gaussians (Equation 3): both as the paper's
# Table 4 has them, as losses for the same parameters. **TTAD** is the discrete plan with two turned or mirrored views of each picture. The other rows are for page [34](34_ttad_ablation); they share pictures and memory with these, and so
# are computed with them.
#
# The paper gives one learning rate, 0.003, and does not say for which of them. But a squared difference of covariances and a mean distance have different units, so a common rate would be a handicap drawn by lot. Here each loss gets the
# best of several rates on held-out seeds, by the *labelled* AUROC that nobody has at test time: this is kinder than life, and equally kind to all. (Copies and the continuous plan share the rate of *discrete*.) TTT++ and TTAC are also run
# at the printed rate, beside.

# %%
for method, arguments in study.METHODS.items():
    print(f"{method:15}", arguments)

# %% [markdown]
# An adaptation that fails, because its loss is no longer a number, leaves the unadapted scores: they are what counts for it in every table, and failures are counted. The value after the **last** epoch is the result. The best epoch can only
# be picked with labels; it is printed beside it, because elsewhere it is often what is reported.
#
# ## Live and stored
#
# The grid is a study, `otad.studies.ttad_results`: a cell is a class, a seed and a corruption, and its rows are the methods. It is kept in `results/`; what this page computes while you wait is one of its cells, by the same function. On any
# machine the pictures, the unadapted scores and the loss of the first step must agree; what thirty steps make of a rounded sum may differ, and is told.

# %%
asked = {"phase": "judged", "seed": seed, "condition": "brightness", "class": pick(scale, smoke=FLAGGED[0], laptop=FIRST)}  # fmt: skip
found = [c for c in study.cells(scale) if asked.items() <= c.items()]
LIVE = found[-1:]  # the last has the highest severity, and fewer methods
if scale == "paper":
    rows, once = (
        [r for c in s.cells(scale) if c["data"] == dataset for r in runner.rows_of(s.STUDY, scale, c)]
        for s in (study, rivals)
    )  # fmt: skip
else:
    stored, others = ledger.stored("ttad_results"), ledger.stored("ttad_rivals")
    rows, once = stored.value, others.value
    live = runner.rows_of(study.STUDY, scale, LIVE[0])
frame = pd.DataFrame(rows)
tried, table = (frame[frame["phase"] == p] for p in ("held out", "judged"))
VIEWS = reading.views(table, SEVERITY)  # what decides, and what stands beside
judged = VIEWS[""]

# %% tags=["remove-input"]
if scale == "laptop":
    ledger.say(f"{stored.sentence(runner.code(study.STUDY))} RD4AD, KDAD, UniAD and CFLOW: {others.sentence(runner.code(rivals.STUDY))}")  # fmt: skip
    key = ["phase", "class", "seed", "condition", "severity", "method"]
    pair = 100 / (grid["n_good"] * 3 * grid["n_each"])  # of pictures, exchanged
    same = ["lr", "mean", "ramp", "first loss"]
    ledger.agreement("33", live, rows, key, ["image", "pixel"], same, lambda row: row["method"] == "PatchCore", pair)  # fmt: skip

# %% [markdown]
# ## The learning rate
#
# Held-out seeds 0 and 1, planted defects, all four corruptions at their matched severities: each number is a mean over eight cells. Look at how far the rows of one method lie apart, and compare that with how far the methods do. (What they
# choose is a constant of the study; if it were another choice, this cell would raise.)

# %%
if scale != "paper":
    picked = study.best_rates(tried)
    if picked != study.CHOSEN:
        raise AssertionError(f"held-out seeds choose {picked}, not {study.CHOSEN}")
    start = [curve[0][0] for curve in tried["curve"]]
    kept = {"image": "mean", "gain": "mean", "pixel": "mean", "failed": "sum"}
    gained = tried.assign(gain=tried["image"] - start)
    rates = gained.groupby(["method", "lr"], sort=False).agg(kept).reset_index()
    pairs = zip(rates["method"], rates["lr"], strict=True)
    rates["chosen"] = ["yes" if picked.get(m) == lr else "" for m, lr in pairs]
    said = "Held-out seeds: AUROC (%), gain over unadapted in points"
    shown = rates.assign(lr=rates["lr"].map("{:g}".format))
    plotting.table(shown, said, formats="{:.1f}")

# %% tags=["remove-input"]
if scale != "paper":
    ledger.record("p33_rates", {f"{r.pop('method')} {r.pop('lr'):g}": r for r in rates.to_dict("records")}, tolerance=0.02)  # fmt: skip
    by_method = rates[rates["method"].isin(picked)].groupby("method")["image"]
    spread = (by_method.max() - by_method.min()).to_dict()
    spread["between methods"] = float(np.ptp(by_method.max()[list(RIVALS[1:])]))
    ledger.record("p33_rate_spread", spread, tolerance=0.02)
    ledger.record("p33_best_rates", picked)
    edge = [m for m, lr in picked.items() if lr in (min(RATES[m]), max(RATES[m]))]
    ledger.record("p33_edge", ", ".join(edge) or "none")
    ledger.say("The best rates are {p33_best_rates[TTT++]:g} for TTT++, {p33_best_rates[TTAC]:g} for TTAC and {p33_best_rates[TTAD]:g} for TTAD; 0.003 is printed. From its worst rate to its best, TTT++ gains {p33_rate_spread[TTT++]:.1f} points, TTAC {p33_rate_spread[TTAC]:.1f}, TTAD {p33_rate_spread[TTAD]:.1f}; from the worst of these three to the best, each at its best, it is {p33_rate_spread[between methods]:.1f}. Whoever compares them at one common rate compares rates. Best at the edge of what was tried, so that they might do better beyond it: {p33_edge}.")  # fmt: skip

# %% [markdown]
# ## Image AUROC
#
# Table 1, printed and here. In print the clean column of TTT++, TTAC and TTAD repeats PatchCore's number: nothing was adapted there. Here TTAD's clean entry *is* adapted, to clean pictures, as nobody tells a method that nothing has
# changed. Here and there, look along a row for the corruption where adapting costs something. KDAD, RD4AD, UniAD and CFLOW learn once and do not adapt: other ways to know what is normal, each with settings searched on other classes. ViTAD is a dash here: its teacher is a vision transformer, and no package on a registry ships the weights. `otad.methods.ViTAD` is there for whoever has them, at paper scale. GNL's row is on page [36](36_ttad_contrast).

# %%
ORDER, SHOWN = ["clean", *KINDS], (*RIVALS, *AS_PRINTED)
NAMES = dict(zip(("patchcore", "tttpp", "ttac", "ttad"), RIVALS, strict=True))
NAMES |= rivals.SHOWN | {"vitad": "ViTAD"}
apart = {
    (metric, name + told): reading.means(of, metric, SHOWN, ORDER)
    for metric in ("image", "pixel")
    for told, part in VIEWS.items()
    for name, of in part.dropna(subset=[metric]).groupby("class", sort=False)
}
for (metric, name), own in apart.items():
    kept = {m: r.dropna().to_dict() for m, r in own.iterrows()}
    ledger.record(f"p33_{metric} {name}", kept, tolerance=5e-3)


# %%
def printed(number, data):
    of = {"paper": "ttad", "table": number, "dataset": data}
    found = ledger.by_setting("corruption", **of)
    found = found.rename(index=NAMES)[ORDER]
    return found.reindex([m for m in NAMES.values() if m in found.index])


def compare(number, metric, shows):
    """Printed beside here; folded beneath, Real-IAD and what decides nothing."""
    ours = reading.means(judged, metric, SHOWN, ORDER)
    ours = pd.concat([ours, rivals.means(once, metric, ORDER)])
    said = f"{metric.capitalize()} AUROC (%): {dataset}, here {n_seeds} seeds"
    plotting.beside(printed(number, dataset), ours, caption=said, shows=shows)
    rest = {"Real-IAD, printed": printed(number, "realiad")}
    rest |= {name: own for (of, name), own in apart.items() if of == metric}
    long = pd.concat(rest, names=["class", "method"]).reset_index()
    said = f"Here {n_seeds} seeds, {grid['n_beside']} of what is flagged"
    folded = "Real-IAD; by class, severity 5, flagged"
    plotting.table(long, said, formats="{:.1f}", folded=folded)


compare("Table 1", "image", ["ttad Table 1", "ttad Table 5"])
steady = rivals.means(once, "image", ORDER).loc["RD4AD"]
ledger.record("p33_once", steady.to_dict())
ledger.record("p33_once_lost", float(steady["clean"] - steady.min()))


# %% tags=["remove-input"]
def listed(metric, method, told=""):
    """The four means of a method, for `say`."""
    return ", ".join(f"{{p33_{metric} {first}{told}[{method}][{kind}]:.0f}}" for kind in KINDS)  # fmt: skip


if scale != "paper":
    ledger.say(f"Under noise, blur, brightness and contrast, at the matched severities, the unadapted memory has {listed('image', 'PatchCore')}; TTT++ ends at {listed('image', 'TTT++')}, TTAC at {listed('image', 'TTAC')}, TTAD at {listed('image', 'TTAD')}. At severity 5 the unadapted memory has {listed('image', 'PatchCore', ', severity 5')}, and TTAD ends at {listed('image', 'TTAD', ', severity 5')}. At the matched severities again, **RD4AD**, which learns once and sees no shifted picture before it scores it, has {', '.join(f'{{p33_once[{kind}]:.0f}}' for kind in KINDS)}, and {{p33_once[clean]:.0f}} where nothing has changed. There it loses {{p33_once_lost:.1f}} points at most; at severity 5 reverse distillation loses far more, too (page [36](36_ttad_contrast)). Why was not tested; at their worst UniAD and KDAD, which do not adapt either, lose far more.")  # fmt: skip

# %% [markdown]
# (The printed row of TTAC on MVTec AD has lost a number and is shifted by one column, as Table 4 of the paper shows; 55.34 stands in it twice. Table 5, the same by class, is not in the version that was read; by class is what ours is
# anyway.)
#
# ## Pixel AUROC
#
# Table 3, for the class that has masks. A chance map has 50; below that, a defect looks *more* normal than its surroundings (page 30 says why).

# %%
compare("Table 3", "pixel", ["ttad Table 3", "ttad Table 7"])

# %% tags=["remove-input"]
if scale != "paper":
    ledger.say(f"Maps, in the same order: unadapted {listed('pixel', 'PatchCore')}, by TTAD {listed('pixel', 'TTAD')}; at severity 5 unadapted {listed('pixel', 'PatchCore', ', severity 5')}, by TTAD {listed('pixel', 'TTAD', ', severity 5')}. Under noise at severity 5 they stay upside down. A likely reason: cuts and holes are dark, half of the noise is clipped there, and what is left is the calmest spot of the picture. (Of Table 7, pixels by class, the version that was read has the caption alone.)")  # fmt: skip

# %% [markdown]
# ## Epoch by epoch
#
# AUROC before adapting and after every epoch, at the matched severities, with 95 % bands over seeds; the dotted line is PatchCore on clean pictures, which is what there is to win back. An honest method should rise and then stay.

# %%
clean = judged[(judged["condition"] == "clean") & (judged["method"] == "PatchCore")]
adapted = judged[judged["method"].isin(RIVALS[1:])].query("condition != 'clean'")
of = dict(list(adapted.groupby(["condition", "method"])))
for k, metric in enumerate(("image", "pixel")):
    plotting.curves(
        {c: {m: reading.curve(of[c, m], k) for m in RIVALS[1:]} for c in KINDS},
        xlabel="epoch",
        ylabel=f"{metric} AUROC (%)",
        levels={"PatchCore, clean": clean[metric].mean()},
        shows=["ttad Table 1" if metric == "image" else "ttad Table 3"],
        columns=4,
    )

# %% [markdown]
# Last and best epoch. The difference is what a table gains by looking at the labels once more.

# %%
ran = adapted[~adapted["failed"]]
best = [max(e[0] for e in curve[1:]) for curve in ran["curve"]]
both = ran.assign(best=best, first=[curve[1][0] for curve in ran["curve"]])
ends = both.groupby("method", sort=False)[["first", "image", "best"]].mean()
ends.columns = ["first epoch", "last epoch", "best epoch"]
ends["best less last"] = ends["best epoch"] - ends["last epoch"]
said = "Image AUROC (%), mean over four corruptions and the seeds"
plotting.table(ends.rename_axis(None), said, formats="{:.1f}")

# %% tags=["remove-input"]
ledger.record("p33_epochs", ends.T.to_dict(), tolerance=0.01)
again = both[both["method"] == "TTAD"]
ledger.record("p33_moved", float((again["image"] - again["first"]).abs().mean()), tolerance=0.02)  # fmt: skip
ledger.record("p33_failed", table.groupby("method")["failed"].sum().to_dict())
if scale != "paper":
    ledger.record("p33_runs_as_printed", int((table["method"] == "TTAC, rate 0.003").sum()))  # fmt: skip
    ledger.say("Picking TTAD's best epoch by the labels would add {p33_epochs[TTAD][best less last]:.1f} points, TTT++'s {p33_epochs[TTT++][best less last]:.1f}, TTAC's {p33_epochs[TTAC][best less last]:.1f}. Failed adaptations, at the rates chosen: TTT++ {p33_failed[TTT++]}, TTAC {p33_failed[TTAC]}, TTAD {p33_failed[TTAD]}. At the printed rate of 0.003: TTT++ {p33_failed[TTT++, rate 0.003]}, TTAC {p33_failed[TTAC, rate 0.003]}, each of {p33_runs_as_printed}. Between TTAD's first epoch and its last, image AUROC moves by {p33_moved:.1f} points on average, up or down. Page [34](34_ttad_ablation) looks at two methods at severity 5, one also with nothing frozen.")  # fmt: skip

# %% [markdown]
# ## Where something is lost
#
# A mean hides its losses. Here is the gain over not adapting for every class, severity, corruption and method, with the 95 % interval over seeds. Where the whole interval is below zero, it would have been better to leave the network alone;
# nothing is left out.

# %%
gains, said = {}, "Gain over PatchCore in points, last epoch, 95 % interval"
for told, part in VIEWS.items():
    part = part[part["condition"] != "clean"]
    there = [m for m in ("image", "pixel") if part[m].notna().any()]
    if there:
        own = {m: reading.by_seed(part, m, "class") for m in there}
        own = pd.concat(own, names=["AUROC of"])
        gain = own.sub(own["PatchCore"], axis=0)[[m for m in SHOWN[1:] if m in own]]
        folded = told.removeprefix(", ").capitalize()
        found = plotting.intervals(gain, said, folded=folded, hide=["class"])
        gains |= {
            f"{name}{told}: {metric}, {kind}, {m}": ends_of
            for m in found
            for (metric, name, kind), ends_of in found[m].dropna().items()
        }

# %% tags=["remove-input"]
ledger.record("p33_gains", gains, tolerance=0.05)
deciding = {k: v for k, v in gains.items() if "severity 5" not in k and "flagged" not in k}  # fmt: skip
lost = {m: [k.split(": ")[1].removesuffix(f", {m}") for k, v in deciding.items() if k.endswith(f", {m}") and v[0] < 0] for m in RIVALS[1:]}  # fmt: skip
ledger.record("p33_lost", {m: len(v) for m, v in lost.items()})
ledger.record("p33_cells", sum(k.endswith(", TTAD") for k in deciding))
ledger.record("p33_lost_by_ttad", sorted(lost["TTAD"]))
ledger.record("p33_where", "; ".join(lost["TTAD"]) or "none")
ledger.say("In the mean over seeds TTAD is below the unadapted memory in {p33_lost[TTAD]} of the {p33_cells} cells of the verdicts ({p33_where}), TTT++ in {p33_lost[TTT++]}, TTAC in {p33_lost[TTAC]}. A mean counts as below however little it is; the table has the intervals.")  # fmt: skip

# %% [markdown]
# ## Verdicts
#
# Planted defects at the matched severities; every inequality of a claim is judged by itself. If no gap of a claim can be as much as one point of AUROC, it is called negligible: page 30 says why. With thirty pictures a cell is coarse: one exchanged pair
# of pictures is worth 0.4 points.

# %%
everybody = pd.concat([judged, rivals.renamed(once)])
image, pixel = (reading.by_seed(everybody, metric) for metric in ("image", "pixel"))
two = [own.groupby("condition")[["RD4AD", "TTAD"]].mean().loc[list(KINDS)] for own in (image, pixel)]  # fmt: skip
ledger.record("p33_rd_ahead", int(sum((t["RD4AD"] > t["TTAD"]).sum() for t in two)))
lost = image["PatchCore"]["clean"] - image["TTAD"]
short = {f"{k}: clean less TTAD": lost[k].tolist() for k in ("defocus blur", "brightness")}  # fmt: skip
OTHERS = (*RIVALS[:3], *rivals.SHOWN.values())


def ahead(own, kinds):
    """One inequality a corruption and rival."""
    of = [(kind, rival) for kind in kinds for rival in OTHERS]
    found = (reading.lead(own, "TTAD", rival, [kind]) for kind, rival in of)
    return {name: gaps for lead in found for name, gaps in lead.items()}


def worse(methods):
    """Cells in which single Gaussians are worse, a tie being half a case, seed by seed."""
    of = [(image.loc[kind], m) for kind in KINDS for m in methods]
    gaps = [own["PatchCore"] - own[m] for own, m in of]
    return sum(0.5 * np.sign(gap).to_numpy() for gap in gaps) + len(gaps) / 2


counted, n_cells = worse(RIVALS[1:3]), len(KINDS) * 2
beyond_half, three = counted - n_cells / 2, list(KINDS)[:3]

# %% tags=["hide-input"]
ledger.record("p33_worse", counted.tolist())
mean = image.drop("clean").sub(image["PatchCore"].drop("clean"), axis=0).mean()
told = f"Mean gain in image AUROC {mean['TTT++']:+.1f} points for TTT++ and {mean['TTAC']:+.1f} for TTAC."
lr, steps = "the printed learning rate", "As many steps as the paper."
if scale != "paper":
    as_printed = worse(AS_PRINTED)
    ledger.record("p33_worse_as_printed", as_printed.tolist())
    told += f" It turns on the rate: at the printed 0.003, for both, {as_printed.mean():.1f} of {n_cells} cells a seed count as worse, a tie as half (cells are four corruptions times two methods, image AUROC; an adaptation that breaks down leaves the unadapted score, a tie)."
    lr = f"each method at its own best learning rate, TTAD at {picked['TTAD']:g}"
    lr += ", the largest tried" * (picked["TTAD"] == max(RATES["TTAD"]))
    steps = "Thirty steps; the paper takes about 120. The four that learn once have settings searched on other classes, unshifted."
levels = ", ".join(f"{k} {v}" for k, v in SEVERITY.items())
where = f"{'; '.join(judged['class'].unique())}; severities {levels}; {lr}. {steps}"
draws = "a seed draws the cells, the damage, the memory, the noise, the batches and the views"

# %%
ledger.verdict(
    "ttad-04",
    {"more cells of TTT++ and TTAC worse than PatchCore than not": beyond_half},
    draws,
    f"cells of {n_cells} beyond half",
    f"{told} {where}",
    smallest_effect=1.0,
    effect_reason="one cell more or less than half is the least that 'most' can mean",
)
points = "points of image AUROC"
ledger.verdict("ttad-05", ahead(image, three), draws, points, where, **NOTHING)
why = f"Clean is PatchCore's score on clean pictures. {where}"
ledger.verdict("ttad-07", short, draws, points, why, band=(-2.5, 2.5))
points = "points of pixel AUROC"
ledger.verdict("ttad-08", ahead(pixel, KINDS), draws, points, where, **NOTHING)

# %%
CLAIMS = ("ttad-05", "ttad-07", "ttad-08")
plotting.margins(
    {c: ledger.recorded(f"verdict {c}") for c in CLAIMS},
    unit="points of AUROC",
    effects=dict.fromkeys(("ttad-05", "ttad-08"), NOTHING["smallest_effect"]),
    bands={"ttad-07": (-2.5, 2.5)},
)

# %% [markdown]
# What is claimed of data that are not here, **ttad-09**, **ttad-16** and **ttad-20**, is on page [37](37_ttad_in_print), in print.
#
# ## Paper against code
#
# The authors' code is not public. What the paper leaves open, and what we took: $\epsilon$ (0.05 of a batch's mean cost), the number of Sinkhorn iterations, $N_M$, whether batch norm normalises by the source's statistics or the batch's
# (the source's), and the scale of Equation 6 (a mean). What we changed to make a step cheap, and what it costs:
#
# | saving | what it changes |
# |---|---|
# | stages up to stride 4 are frozen, and computed once a view | a few of the scales and shifts stay put: counted below |
# | Sinkhorn stops at a marginal error of a thousandth | a few links of Equation 6 at most: table below |
# | the loss is differentiated by hand | nothing: the same gradient, without a matrix of patches by entries in the graph |
# | thirty pictures, thirty steps | all of it is shorter and noisier than the paper |

# %%
cost = distances(ttad.patches(images[:10]), ttad.memory_)
reg, many = 0.05 * float(cost.mean()), pick(scale, smoke=50, laptop=500)
exact = hard_plan(sinkhorn(cost, reg, max_iter=many, tol=0).plan)
rows = []
for tol in (1e-2, 1e-3, 1e-4):
    found = sinkhorn(cost, reg, max_iter=500, tol=tol)
    differ = 100 * float((hard_plan(found.plan) != exact).sum() / exact.sum())
    line = {"stops at": f"{tol:g}", "iterations": found.n_iter}
    rows.append(line | {"links that differ (%)": differ})
ledger.record("p33_tolerance", rows, tolerance=0.2)
said = "Equation 6 after few iterations, against many"
plotting.table(pd.DataFrame(rows), said, formats="{:.2f}")

# %% tags=["remove-input"]
if scale != "paper":
    norms = {s: sum(p.numel() for n in stage.modules() if isinstance(n, nn.BatchNorm2d) for p in n.parameters()) for s, stage in ttad.backbone.stages.items()}  # fmt: skip
    moving = sum(n for stride, n in norms.items() if int(stride) > ttad.frozen)
    ledger.record("p33_theta", {"all": sum(norms.values()), "moving": moving})
    ledger.say("Of {p33_theta[all]:,} scales and shifts {p33_theta[moving]:,} still move: not many are lost, but they are those next to the pixels. On the held-out seeds the discrete plan ends at an image AUROC of {p33_rates[discrete 0.003][image]:.1f} with these stages frozen and {p33_rates[discrete, all stages 0.003][image]:.1f} with all moving, pixels {p33_rates[discrete 0.003][pixel]:.1f} and {p33_rates[discrete, all stages 0.003][pixel]:.1f}: eight cells, so take this with a grain of salt.")  # fmt: skip

# %% [markdown]
# ## What it costs
#
# One step of TTAD, ten pictures in three views each, by what is frozen; the time includes looking at the pictures for the first time.

# %% tags=["timing"]
seconds = {}
for stride in (0, 4, 8):
    one, start = replace(ttad, frozen=stride, epochs=1), time.perf_counter()
    one.adapt(images[:10])
    seconds[f"frozen to stride {stride}"] = time.perf_counter() - start
zero, four, _ = seconds.values()
ledger.record("p33_frozen_saves", zero / four, timing=True, bounds=(0.2, 50))
costs, said = pd.DataFrame({"seconds": seconds}), f"{ttad.n_memory} entries"
plotting.table(costs, said, formats="{:.2f}", timing=True)

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say("What does adapting to today's light win back? On solar cells with planted defects, image and pixel AUROC under four corruptions make {p33_cells} cells: in the mean over seeds TTAD is below the detector that does not adapt in {p33_lost[TTAD]} of them, TTT++ in {p33_lost[TTT++]} and TTAC in {p33_lost[TTAC]}; and below RD4AD, which learns once and does not adapt, in {p33_rd_ahead}.", short=True)  # fmt: skip

# %% [markdown]
# At the matched severities TTAD brings back more where much was lost, and takes something from images where little was; for images at severity 5 what comes back does not follow what was lost. The learning rate can decide as much as the method: at one common rate whoever has the better units wins. What the parts of TTAD contribute is the question
# of page [34](34_ttad_ablation), what its maps look like that of page [35](35_ttad_qualitative).
#
# ## Exercise
#
# Nothing has changed today, but nobody tells the method. Adapt to *clean* pictures, half of them defective. How much AUROC does that cost, and which way do the anomalous patches move?

# %% [markdown]
# ### Solution
#
# The memory was built from such pictures, so the normal patches have nowhere to go; the only patches with a way to go are the anomalous ones, and the loss pulls them home. What is left is a small loss of what the detector lived on.

# %%
own, metrics = judged[judged["condition"] == "clean"], ["image", "pixel"]
unchanged = own.pivot_table(index="class", columns="method", values=metrics)
unchanged = unchanged.round(6)
unchanged.columns = [f"{metric}, {m}" for metric, m in unchanged.columns]
kept = {c: row.dropna().to_dict() for c, row in unchanged.iterrows()}
ledger.record("p33_clean", kept, tolerance=0.01)
said = "Clean pictures, before and after adapting to them (AUROC, %)"
plotting.table(unchanged.rename_axis(None), said, formats="{:.1f}")
