# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The benchmark: sixteen methods, one arena
#
# A table of sixteen methods, collected from their papers, says who wins. Does the order survive when all of them see the same pictures, nearly all through the same network, with as much care for each?
#
# *Benchmarking Unsupervised Anomaly Detection and Localization*, Sections 2 and 4.1.1, Tables 1 and 2, Figure 1. Five claims are judged. **benchmark-01** and **-02**: methods that represent beat methods that reconstruct, in detection and in localisation. **benchmark-03** and **-04**: memory banks and flows do best. **benchmark-05**: detection on MVTec AD is close to saturation.
#
# The numbers of both tables are *collected from the literature*: every method in its own authors' hands, with its own network, picture size and number of epochs. The benchmark ran none of them. Here all are run; at `scale="paper"` on MVTec AD, each with its paper's network and settings (what differs is named under *Paper against code*), all on pictures of 224 pixels, which CS-Flow enlarges to 768 and DifferNet to 448; otherwise on pictures that the package draws and borrows. That tests the claims on other data and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the judged seeds; seed 0 was used up in choosing settings
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: OTAD_DATA

# %% tags=["hide-input"]
import json
import math
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

from otad import ledger, plotting
from otad.data.packaged import solar
from otad.data.readers.locations import use_location
from otad.judgement import ranks, t_interval
from otad.methods import DRAEM, NSA, CutPaste, PatchSVDD
from otad.studies import benchmark_arena as arena
from otad.studies import benchmark_results as study
from otad.studies.runner import code, rows_of

if scale == "paper":
    use_location(data_folder, "mvtec_ad", "dtd")  # says what is missing

# %% [markdown]
# ## The arena
# | group | classes | what is wrong |
# |---|---|---|
# | textures | leather, drawn | six kinds of planted defects |
# | scenes | bottle, transistor, drawn | seven or eight kinds, from a scratch to a wrong fruit |
# | photographs | brick | planted |
# | cells | polycrystalline solar cells | planted |
# | cells | monocrystalline solar cells | **real**, with labels of pictures and no masks |
#
# A class is sixty normal pictures to learn from, twenty to judge and about as many defective ones. A seed draws all of it anew, but for photographs and cells, of which seeds share some. Other classes, carpet and dish, and another seed chose the settings below; they are not judged.

# %%
GROUPS, grid = arena.arena(scale), arena.setting(scale)
n_seeds, own = arena.n_seeds(scale), scale == "paper"
print(*(f"{g}: {', '.join(names)}" for g, names in GROUPS.items()), sep="\n")

# %% [markdown]
# ## The contestants
# The tables' two schools: four methods *rebuild* (a picture, or what a network sees in it), twelve *represent*. The split is the paper's and not free of choice: R-D, whose student imitates a teacher's features, counts as reconstruction, PaDiM and DFR both look at a frozen network's features and stand on different sides, and DRAEM's restored picture is judged by a network that has learnt what defects look like.
#
# On a laptop all look through EfficientNet-Lite0, except P-SVDD and DRAEM, which always begin from nothing. Two are not what their papers mean: **CutPaste** and **NSA** train a whole network there, and here a head on a frozen one. They carry a star in the tables of all methods. Glance and FYD have no public code; ours are reconstructions from the papers.

# %%
RUNS = study.cells(scale)
stars = () if own else study.STAND_INS
NAMED = {m: f"{m}*" if m in stars else m for m in study.ORDER}
# Computed afresh by three methods, which learn nothing by steps.
WATCHED, CHEAP = ("leather", "bottle"), ("PaDiM", "PatchCore", "SPADE")
LIVE = [(s, c) for s, c in RUNS if c["phase"] == "score" and c["method"] in CHEAP]
if scale == "laptop":
    LIVE = [(s, c) for s, c in LIVE if c["class"] in WATCHED and c["seed"] == seed]
live = [row for s, c in LIVE for row in rows_of(s, scale, c)]

# %% [markdown]
# ## The run
# Every method, class and seed is a cell of four studies, `otad.studies.benchmark_memories`, `_flows`, `_reconstruction` and `_pretext`, kept in `results/`; the verdicts are theirs.

# %% tags=["hide-input"]
if scale == "laptop":
    rows = []
    for one in study.STUDIES:
        rows += (stored := ledger.stored(one.name)).value
        ledger.say(f"*{one.name.split('_')[1]}*: {stored.sentence(code(one))}")
    kept = [row for row in rows if row["phase"] == "score"]
    of, metrics = ["class", "seed", "method"], ["image", "pixel", "PRO"]
    rounding = 100 / grid["n_good"] / 20  # an exchanged pair of pictures
    ledger.agreement("21", live, kept, cell=of, scores=metrics, untrained=lambda row: True, rounding=rounding)  # fmt: skip
else:
    rest = [pair for pair in RUNS if pair not in LIVE]
    rows = live + [row for s, c in rest for row in rows_of(s, scale, c)]
scores = study.judged(rows)
n_seeds = scores["seed"].nunique()

# %% [markdown]
# Has every network that begins from nothing learnt its task? DRAEM's longer runs are below. P-SVDD's can be asked here: it names on which of eight sides a second patch lay, in two sizes of patch, and guessing costs $2 \ln 8$. Compare its last losses with that.

# %%
GUESS = 2 * math.log(8)
ends = scores.loc[scores["method"] == "P-SVDD", "losses"].str[-1]
untaught = ends.min() > 0.99 * GUESS
if untaught:
    NAMED["P-SVDD"] = "P-SVDD†"
PLAIN = {shown: m for m, shown in NAMED.items()}
svdd = {"runs": len(ends), "low": ends.min(), "high": ends.max(), "guess": GUESS}
tried = [r for r in rows if r["method"] == "P-SVDD" and r["phase"] != "score"]
for key, some in (("search", "search"), ("longer", "curve")):
    svdd[key] = min((r["losses"][-1] for r in tried if r["phase"] == some), default=GUESS)  # fmt: skip
ledger.record("p21_svdd", svdd, tolerance=0.01)

# %% tags=["remove-input"]
if untaught:
    ledger.say("**P-SVDD is judged with an encoder that has learnt nothing.** Guessing costs {p21_svdd[guess]:.3f}, without what its second task adds, and its {p21_svdd[runs]} judged trainings end between {p21_svdd[low]:.3f} and {p21_svdd[high]:.3f}. It carries a † below: its rows are no measure of the method.")  # fmt: skip
if untaught and tried:
    ledger.say("The lowest loss that any of its four settings reached on the held-out classes is {p21_svdd[search]:.3f}, but the search asks for AUROC and chose another; with a quarter to twice its epochs the chosen one ends at {p21_svdd[longer]:.3f} or more.")  # fmt: skip

# %% [markdown]
# ## One search for all
# Who tunes one method and takes another as it comes has compared two amounts of care. So each method got four settings: mostly two sizes (of the network, of what is kept, of the maps it sees) by two rates; a method without a rate has another choice. The best mean of image and pixel AUROC on the held-out classes is what is judged. Look at how far the four lie apart: that is what a careless choice could have cost. The number of tries is the same for all; their length is not. Epochs were not searched: each size has a number set by hand. *Fit s* is what judged cells took, at the median over the solar cells of the later half of the seeds, which one machine has computed.
#
# One method was set twice. CFlow's epochs were tripled (13 and 15 to 40 and 45) when five seeds had been judged, as it had under half of most others' time, and its four settings were tried again; P-SVDD's, hardly longer, were not. benchmark-04 fails by either; benchmark-02, undecided on those five seeds, holds on them by the longer.

# %% tags=["timing"]
found = study.searched(rows)
best = study.best(found)
stale = [m for m, k in best.items() if k != study.PLANS[m].chosen]
caption = "What each is judged with, and its four settings on held-out classes (%)"
late = scores[(scores["seed"] > scores["seed"].median()) & (scores["group"].eq("cells") | (scale != "laptop"))]  # fmt: skip
fits = late.groupby("method")["fit s"].median()
table = study.overview(found).assign(**{"fit s": fits}).rename(NAMED)
form = {"formats": "{:.1f}", "folded": "Settings, and what was tried"}
plotting.table(table, caption, **form, timing=True)
ledger.record("p21_searched", len(best))
steps = fits[[m for m in fits.index if "epochs" in study.PLANS[m].tried[0]]]
shortest, longest = steps.idxmin(), steps.idxmax()
spent = {"least": steps.min(), "most": steps.max()}
ledger.record("p21_spent", spent, timing=True, bounds=(0, 100_000))

# %% tags=["remove-input"]
if scale == "laptop" and len(best) < len(study.ORDER):
    ledger.say("**The search is not complete**: of {p21_searched} methods all four settings have been tried. The others are judged with what a pilot found, which gave some of them more care than others.")  # fmt: skip
if stale:
    ledger.say("The search would now choose otherwise for " + ", ".join(stale) + ".")  # fmt: skip

# %% tags=["remove-input", "timing"]
ledger.say(f"So equal care is not equal budget. Of the {len(steps)} methods that are trained by steps {shortest} had the least, {{p21_spent[least]:.1f}} seconds, and {longest} the most, {{p21_spent[most]:.1f}}.")  # fmt: skip

# %% [markdown]
# ## Has it learnt enough?
# The result of a method is that after its *last* epoch. Several papers print the best epoch of the test set, which nobody can know who has no labels. Below, on the held-out classes, is what a quarter, a half and twice the chosen epochs give, each a run of its own. A line that rises at 1 hints that a laptop has cut the method short, one that falls that stopping early would have helped. No more than hints: these are two classes and one seed, and the search chose the point at 1 on these very pictures.

# %%
learnt = study.curves(rows)
if len(learnt):
    panels = {}
    for name, part in study.PARTS.items():
        some = [m for m in part.PLANS if m in learnt.index]
        panels[name.split("_")[1]] = {NAMED[m]: learnt.loc[[m]] for m in some}
    x, y = "share of the epochs", "image AUROC (%)"
    plotting.curves(panels, x, y, log=True, columns=2)
    ends = study.lengths(learnt)
    caption = "Image AUROC on held-out classes (%)"
    plotting.table(ends.rename(NAMED), caption, formats="{:.1f}")
    picked, twice = (ends[c] - ends["last epoch"] for c in list(ends)[1:])
    ledger.record("p21_picked", float(picked.mean()), tolerance=0.5)
    ledger.record("p21_twice", float(twice.mean()), tolerance=0.5)

# %% tags=["remove-input"]
if len(learnt):
    ledger.say("Picking the best of the three lengths ¼, ½ and 1 would be worth {p21_picked:.1f} points of image AUROC to a trained method, on average, picked once for both classes; twice the epochs {p21_twice:+.1f}.")  # fmt: skip
else:
    ledger.say("**These runs have not been made yet**; `make results` makes them.")

# %% [markdown]
# ## Table 1: detection
# Image AUROC in percent, the mean of the classes; ± is half the 95 % interval over seeds. Printed are the fifteen classes of MVTec AD. A dash is a method that the paper has no number for. Compare the order, not the height: ten of the thirteen printed means lie above 95.


# %%
TABLES = {"Table 1": ("image_auroc", "image", "image AUROC")}
TABLES["Table 2"] = ("pixel_auroc", "pixel", "pixel AUROC")


def both(table, metric, column):
    """One table: printed mean, ours, and half the interval; a row a school and method."""
    old = ledger.printed("benchmark", table, "mvtec_ad", metric)["mean"]
    old = old.rename(study.printed_name).reindex(study.ORDER)
    here = study.by_seed(scores, column)
    long = here.melt(var_name="method", ignore_index=False).set_index("method")
    mean, half = (t["value"] for t in ledger.over_seeds(long))
    index = pd.MultiIndex.from_tuples([(study.SCHOOL[m], NAMED[m]) for m in study.ORDER])  # fmt: skip
    return here, *(x.reindex(study.ORDER).set_axis(index) for x in (old, mean, half))  # fmt: skip


# %%
def show(name):
    """Display a table's means; return those of print, and ours seed by seed."""
    here, *ends = both(name, *TABLES[name][:2])
    caption = f"{name}, {TABLES[name][2]} (%): MVTec AD in print, our classes here, {n_seeds} seeds"  # fmt: skip
    plotting.beside(*ends, caption=caption, shows=[f"benchmark {name}"])
    key = name.lower().replace(" ", "_")
    ledger.record(f"p21_{key}", ends[1].droplevel(0).to_dict(), tolerance=0.05)
    return ends[0].droplevel(0).dropna().rename(PLAIN), here


print_of, by_seed = {}, {}
print_of["Table 1"], by_seed["Table 1"] = show("Table 1")

# %% [markdown]
# ## Table 2: localisation
# Pixel AUROC, of the classes that have masks: the real defects have none. DifferNet and CS-Flow, which the paper says cannot localise, draw maps too (the gradient of the score in the picture; the finest scale's $z^2$): they have no printed value.

# %%
print_of["Table 2"], by_seed["Table 2"] = show("Table 2")


# %%
def by_class(name):
    """Display a table class by class, folded: as printed, and ours."""
    printed, column, label = TABLES[name]
    form = {"formats": "{:.1f}", "shows": [f"benchmark {name}"]}
    there = ledger.printed("benchmark", name, "mvtec_ad", printed).rename(study.printed_name)  # fmt: skip
    there = there.reindex(study.ORDER).dropna(how="all").T
    plotting.table(there, label, folded=f"{name} as printed, class by class (%)", **form)  # fmt: skip
    here = scores.pivot_table(index="class", columns="method", values=column)
    here = here[study.ordered(here)].rename(columns=NAMED)
    order = [c for names in GROUPS.values() for c in names if c in here.index]
    here = here.loc[order].rename_axis(index=None, columns=None)
    plotting.table(here, label, folded=f"{label}, here, class by class (%)", **form)


for name in TABLES:
    by_class(name)
if not own:
    ledger.say(solar.NOTICE)

# %% [markdown]
# AUROC of pixels is kind to large defects, and both AUROCs to methods that rank well and have no good threshold. So beside them PRO, which counts every defect alike (page 02), and F1 at the best threshold, of pictures and of pixels (calling all pictures defective gives about 71 %).

# %%
MORE = {"image": "image AUROC", "image F1": "image F1", "pixel": "pixel AUROC"}
MORE |= {"PRO": "PRO", "pixel F1": "pixel F1"}
more = {label: study.by_seed(scores, c).mean() for c, label in MORE.items()}
more = pd.DataFrame(more).loc[study.ordered(by_seed["Table 1"])].rename(NAMED)
plotting.table(more, "Here, means of classes and seeds (%)", formats="{:.1f}")
ledger.record("p21_more", more.T.to_dict("list"), tolerance=0.05)

# %% [markdown]
# ## What the tables say of themselves
# The audit of the paper's numbers found these places in the two tables and beside them. An average of 0.0 is a placeholder; some averages do not follow from their rows; and the benchmark counts thirteen papers where its list has fourteen and its tables sixteen methods. The averages used on this page are the printed *Average-all*; where a row must be wrong, that is said here, and nothing is corrected.

# %%
audit = ledger.inconsistencies()
audit = audit[audit["paper"] == "benchmark"].drop(columns=["paper", "weight"])
mine = audit["place_1"].str.contains(r"Table [12],|Abstract|4\.1\.1")
audit = audit[mine].set_index("number").rename_axis(None)
audit.columns = [c.replace("_", " ") for c in audit.columns]
fold = f"{len(audit)} findings on Tables 1 and 2"
plotting.table(audit, "From the audit", folded=fold)
ledger.record("p21_audit", len(audit))

# %% [markdown]
# ## Ranks, and how sure they are
# A table of means has a first, a second and a third even where nobody can tell them apart. Each method is compared with every other, seed by seed, on the same pictures (paired t-tests, Holm's adjustment over its comparisons): it ranks behind all that surely lead it, and before all that it surely leads. The line is where it may truly be. A long line is not a fault of the method; it is what this many seeds know.


# %%
def draw(ax, name):
    """Draw the ranks of a table, a row a method; return them."""
    placed = ranks({m: by_seed[name][m].tolist() for m in by_seed[name]})
    old = print_of[name].rank(ascending=False)
    for y, (m, r) in enumerate(placed.items()):
        colour = plotting.COLORS[study.SCHOOL[m] == "reconstruction"]
        ax.plot([r.low, r.high], [y, y], color=colour, lw=2)
        ax.plot(r.rank, y, "o", color="black")
        ax.plot(old.get(m, float("nan")), y, "D", mfc="none", color="black")
    ax.set_yticks(range(len(placed)), [NAMED[m] for m in placed])
    ax.set(title=TABLES[name][2], xlabel="rank", xticks=range(1, len(placed) + 1, 3))  # fmt: skip
    ax.invert_yaxis()
    return {m: list(r) for m, r in placed.items()}


fig, axes = plt.subplots(1, 2, figsize=(plotting.WIDTH, 5.4), layout="constrained")
sure = {TABLES[n][2]: draw(ax, n) for ax, n in zip(axes, TABLES, strict=True)}
told = [f"{m} {r} ({a} to {b})" for m, (r, a, b) in sure["image AUROC"].items()]
alt = "Ranks, each with the line of ranks it may truly have. By image AUROC: "
plotting.show(fig, alt=alt + ", ".join(told) + ".", shows=["benchmark Table 1"])

# %%
lengths, agreed = {}, {}
for name, (_, _, label) in TABLES.items():
    places = [high - low + 1 for _, low, high in sure[label].values()]
    lengths[label] = sum(places) / len(places)
    old, ours = print_of[name].align(by_seed[name].mean(), join="inner")
    agreed[label] = float(stats.spearmanr(old, ours)[0])
ledger.record("p21_ranks", sure, tolerance=0.3)
ledger.record("p21_rank_lengths", lengths, tolerance=0.3)
ledger.record("p21_spearman", agreed, tolerance=0.2)

# %% tags=["remove-input"]
ledger.say(f"Dot: rank of the mean; line: where it may be, orange for reconstruction; diamond: rank in print, among those printed. With {n_seeds} seeds a method may stand in {{p21_rank_lengths[image AUROC]:.1f}} places by image AUROC, and in {{p21_rank_lengths[pixel AUROC]:.1f}} by pixel AUROC, on average. Printed and measured order agree with a rank correlation of {{p21_spearman[image AUROC]:+.2f}} in detection and {{p21_spearman[pixel AUROC]:+.2f}} in localisation.")  # fmt: skip

# %% [markdown]
# ## Figure 1: accuracy over time
# Detection on MVTec AD against the date of each method. The figure's dates are not in the text; these are from its list of references: the number of a preprint has a year and a month (arXiv 2106.08265 is June 2021), a conference has its year, drawn as a line. The dotted steps are the record so far, of those whose month is known.

# %%
when, height = study.dates(), print_of["Table 1"]
fig, ax = plt.subplots(figsize=(plotting.WIDTH, 4.2), layout="constrained")
for m, auroc in height.items():
    colour = plotting.COLORS[study.SCHOOL[m] == "reconstruction"]
    ax.plot(when.loc[m], [auroc, auroc], color=colour, lw=5, solid_capstyle="butt")
    ax.annotate(m, (when["until"][m], auroc), (3, -3), textcoords="offset points")
dated = height[[m for m in study.MONTHS if m in height]]
dated.index = when["until"][dated.index]
record = dated.sort_index().cummax()
ax.step(record.index, record, where="post", color="black", lw=1, ls=":")
ax.set(xlabel="year", ylabel="image AUROC in print (%)", xticks=range(2020, 2024))
told = ", ".join(f"{m} {v:.1f}" for m, v in height.sort_values().items())
alt = f"Printed image AUROC against the date; by height: {told}."
plotting.show(fig, alt=alt, shows=["benchmark Figure 1"])
months = 12 * (record.idxmax() - record.index[0])
gain = {"first": record.iloc[0], "record": record.max(), "months": months}
ledger.record("p21_time", {k: float(v) for k, v in gain.items()})

# %% tags=["remove-input"]
ledger.say("From {p21_time[first]:.1f} % to {p21_time[record]:.1f} % in {p21_time[months]:.0f} months. Then there is hardly room left to tell methods apart.")  # fmt: skip

# %% [markdown]
# ## Claims as inequalities
# A seed gives each inequality one margin, in points, from the mean of the classes. A point is what pages 51 and 52 take for the smallest difference that would matter. *Representation against reconstruction* compares the means of those members that have a printed number: in detection only DRAEM and R-D rebuild. *Memory banks and flows do best* is asked of those that lead in print: each of the three first of Table 1 (two of Table 2) against every method that is neither bank nor flow. All inequalities must hold; reversed are those that lie below zero after Holm's adjustment.


# %%
EFFECT = {"smallest_effect": 1.0, "effect_reason": "what pages 51 and 52 take for “about equal”, fixed before the first seed was run"}  # fmt: skip
DRAWS = "a seed is one of the disjoint parts of the test images" if own else "a seed draws new pictures and defects of all classes; photographs and cells overlap between seeds"  # fmt: skip
ELSE = "" if own else f" Other pictures than the paper's, {grid['n_train']} normal ones a class, and one small network for all but P-SVDD and DRAEM."  # fmt: skip
margins, claimed, hung = {}, {}, []
for claim, name in (("benchmark-01", "Table 1"), ("benchmark-02", "Table 2")):
    old = print_of[name]
    here, there = (study.schools(t, old.index) for t in (by_seed[name], old))
    what = f"{TABLES[name][2]}: representation > reconstruction"
    margins[claim], claimed[claim] = {what: here["mean"].tolist()}, {what: there["mean"]}  # fmt: skip
    why = f"In print the mean of the school leads by {there['mean']:+.2f}, its best method by {there['best']:+.2f}; here the best by {here['best'].mean():+.1f}, each seed's own best.{ELSE}"  # fmt: skip
    kept = {f"without {gone}": old.index.drop(gone.split(" and ")) for gone in ("DRAEM", "P-SVDD", "DRAEM and P-SVDD")}  # fmt: skip
    kept["with all sixteen methods"] = by_seed[name].columns
    rest = {said: study.schools(by_seed[name], some)["mean"] for said, some in kept.items()}  # fmt: skip
    why += " Looked at afterwards: " + "; ".join("{} the margin is {:+.1f} [{:+.1f}, {:+.1f}]".format(said, *t_interval(gap.tolist())) for said, gap in rest.items()) + "."  # fmt: skip
    hangs = here["mean"].mean() > 0 > rest["without DRAEM"].mean()
    split = there["mean"] < 0 < there["best"]
    reading = "In print the claim fails for the means of the schools, and holds for their best. " if split else ""  # fmt: skip
    reading += "Here the word hangs on DRAEM, which a laptop hardly teaches: without it the lead is reversed." if hangs else ""  # fmt: skip
    hung.append(hangs)
    ledger.record(f"p21_hangs_{claim[-2:]}", float(rest["without DRAEM"].mean()), tolerance=0.2)  # fmt: skip
    ledger.verdict(claim, margins[claim], DRAWS, "points", why, reading=reading, **EFFECT)  # fmt: skip

# %%
ASKED = (("benchmark-03", "Table 1", 3), ("benchmark-04", "Table 2", 2))
for claim, name, k in ASKED:
    old = print_of[name]
    pairs = study.leads(old, k)
    margins[claim], claimed[claim] = (study.gaps(t, pairs) for t in (by_seed[name], old))  # fmt: skip
    top = by_seed[name].mean().nlargest(k).index
    why = f"In print the smallest of these leads is {min(claimed[claim].values()):+.1f} points. Here the {k} best by mean are {', '.join(top)}.{ELSE}"  # fmt: skip
    why += " FastFlow is judged by its energy, not by its paper's map."
    ledger.verdict(claim, margins[claim], DRAWS, "points", why, **EFFECT)

# %%
near = print_of["Table 1"].sort_values(ascending=False)
above = near[near >= 98]
why = f"{len(above)} of {len(near)} methods have 98 % or more: {', '.join(above.index)}; the third has {near.iloc[2]:.1f}. Means of fifteen classes hide that single ones are far from it."  # fmt: skip
gap = float(near.iloc[2] - 98)
ledger.from_published("benchmark-05", len(above) >= 3, gap, why)

# %% tags=["hide-input"]
verdicts = {c: ledger.recorded(f"verdict {c}") for c in ("benchmark-01", "benchmark-02")}  # fmt: skip
plotting.margins(verdicts, printed=claimed, effects=dict.fromkeys(verdicts, 1.0))
lists = {}
for c in ("benchmark-03", "benchmark-04"):
    judged = ledger.recorded(f"verdict {c}")["inequalities"]
    text = {what: f"{m:+.1f} [{low:+.1f}, {high:+.1f}]" for what, (m, low, high) in judged.items()}  # fmt: skip
    lists = {"printed": pd.Series(claimed[c]).map("{:+.1f}".format), "here": pd.Series(text)}  # fmt: skip
    plotting.table(pd.DataFrame(lists), "Leads in points", folded=f"{c}: every inequality")  # fmt: skip

# %% [markdown]
# ## Longer runs beside the short forms
# Four methods train a whole network from nothing in their papers, which seconds cannot do. Each has had one run of four to six minutes, on two classes and one seed: DRAEM and P-SVDD their own networks, CutPaste and NSA a ResNet18 from nothing in the place of a head on a frozen network. CutPaste's has fewer steps than its short form, each through a whole network, and leaves out the second network, that of crops: its map has one value a picture, so a pixel AUROC of it would be the image score in disguise, and its place is empty.

# %%
LONGER = {"DRAEM": DRAEM, "P-SVDD": PatchSVDD, "CutPaste": CutPaste, "NSA": NSA}


def budget(settings, method):
    """Steps and rate of a training; what is not set is the method's default."""
    plan = {k: getattr(method, k, 0) for k in ("steps", "batch_size", "lr")}
    plan |= json.loads(settings)
    seen = grid["n_train"] * plan.get("crops", 1)  # in an epoch
    each = plan["steps"] or math.ceil(seen / plan["batch_size"])
    return f"{plan['epochs'] * each:,} at {plan['lr']:g}"


long = study.long_runs(rows)
if len(long):
    for phase, title in (("score", "judged"), ("long", "long")):
        plans = {r["method"]: r["settings"] for r in rows if r["phase"] == phase}
        long[f"steps, {title}"] = [budget(plans[m], LONGER[m]) for m, _ in long.index]  # fmt: skip
    long.loc["CutPaste", "pixel AUROC, long"] = math.nan
    plotting.table(long, f"Seed {seed} (%); steps, and the rate at which they begin", formats="{:.1f}")  # fmt: skip
    numbers = long.select_dtypes("number")
    ledger.record("p21_long", {" ".join(k): v.dropna().to_dict() for k, v in numbers.iterrows()}, tolerance=0.2)  # fmt: skip
    ledger.record("p21_cutpaste_steps", CutPaste.epochs * CutPaste.steps)
else:
    ledger.say("**These runs have not been made yet**; `make results` makes them.")

# %% tags=["remove-input"]
if len(long):
    ledger.record("p21_guess_of_three", math.log(3))
    ends = {f"{r['method']} {r['class']}": [r["losses"][1], r["losses"][-1]] for r in rows if r["phase"] == "long"}  # fmt: skip
    ledger.record("p21_ends", ends, tolerance=0.05)
    ledger.say("One seed judges nothing, and longer is not long: CutPaste's paper takes {p21_cutpaste_steps:,} steps. Where a longer run is far better, the short form may do its method an injustice; where it is not, it may still be too short. P-SVDD's task is learnt on bottles, where its loss falls from {p21_svdd[guess]:.2f} to {p21_ends[P-SVDD bottle][1]:.2f}, and hardly on leather ({p21_ends[P-SVDD leather][1]:.2f}), perhaps as it looks the same on all eight sides; the map becomes no better for it. CutPaste's loss (guessing costs {p21_guess_of_three:.2f}) goes from {p21_ends[CutPaste leather][0]:.2f} on leather and {p21_ends[CutPaste bottle][0]:.2f} on bottles after a seventh of the steps to {p21_ends[CutPaste leather][1]:.2f} and {p21_ends[CutPaste bottle][1]:.2f}, and is not done; NSA's, from {p21_ends[NSA leather][0]:.3f} and {p21_ends[NSA bottle][0]:.3f} to {p21_ends[NSA leather][1]:.3f} and {p21_ends[NSA bottle][1]:.3f}.")  # fmt: skip

# %% [markdown]
# ## Paper against code
# | | the paper | here |
# |---|---|---|
# | where numbers come from | collected from the papers; "13 papers" | run, all of them |
# | network | each paper's own | one for all; at `scale="paper"` each paper's own |
# | picture size | each paper's own | one for all; at `scale="paper"` 224 pixels, enlarged to 768 for CS-Flow and to 448 for DifferNet, as in their papers |
# | epoch | each paper's own habit; DifferNet, CFlow, PANDA and FastFlow's public code print the best of the test set | the last; beside it, on held-out classes and by image AUROC, the best of ¼, ½ and 1 of the epochs. The best of *all* epochs is on pages [22](22_flows_opened) and [23](23_students_and_teachers), for single methods |
# | tuning | unknown, and not the same | four settings each, on held-out classes |
# | seeds, intervals | none | seeds apart, classes averaged within a seed |
# | CFlow's maps | normalised over the test set | by a constant learnt in training (page 22) |
# | FastFlow's map | the probability, $-\exp(-\frac12 \overline{z^2})$ | the energy, $\frac12 \overline{z^2}$, at every scale: the same order at one place of one map, another after the mean over maps |
# | DifferNet's angles in judging | 64 | 2; at `scale="paper"` 64 |
# | CFlow's rate, permutations | warmed up; learnt (soft) | not warmed up; fixed |
# | DRAEM's foreign textures | the Describable Textures Dataset, 5,640 pictures | drawn and photographed textures of classes that nobody judges, 16 of them; at `scale="paper"` 940 pictures of that data set, 20 of each of its 47 classes |
# | image score of DFR, PANDA's map | not in their papers | the maximum; neighbours' places, as SPADE |

# %%
ROOTS = resources.files("otad"), Path(ledger.__file__).parents[2]
kept = [root / "results" / "parity_anomalib.json" for root in ROOTS]
text = next(file for file in kept if file.is_file()).read_text(encoding="utf-8")
pairs = pd.DataFrame(json.loads(text)["rows"])
pairs = pairs[pairs["what"] == "our energy, their probability"]
gaps = (pairs["ours"] - pairs["theirs"]).groupby(pairs["seed"]).mean()
told = ledger.span("p21_energy", gaps.tolist())

# %% tags=["remove-input"]
ledger.say(f"What FastFlow's map is worth is stored for the page [Beside anomalib](../book/parity.md): on two drawn classes and {len(gaps)} seeds, with the same short-trained flow, the energy less the probability is {told} points of image AUROC. So FastFlow is not judged here by its paper's map, by which it might stand higher.")  # fmt: skip

# %% [markdown]
# ## What it costs
# Seconds of one core to learn a class and to judge its pictures, network included, where one machine has computed them (see *One search for all*).

# %% tags=["timing", "hide-input"]
costs = late.groupby("method")[["fit s", "score s"]].median()
n_test = grid["n_good"] + 24 if not own else 115
costs["ms a picture"] = 1000 * costs.pop("score s") / n_test
costs = costs.loc[study.ordered(costs.index)].rename(NAMED).rename(columns={"fit s": "seconds to fit"})  # fmt: skip
ledger.record("p21_costs", costs["seconds to fit"].to_dict(), timing=True)
plotting.table(costs.rename_axis(None), f"{grid['n_train']} normal pictures of {grid['side']} pixels", formats="{:.1f}", timing=True)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
lead = {k: t.mean().sort_values(ascending=False) for k, t in by_seed.items()}
for key, name in (("image", "Table 1"), ("pixel", "Table 2")):
    ledger.record(f"p21_first_{key}", [lead[name].index[0], lead[name].iloc[0]], tolerance=0.05)  # fmt: skip
    first = sum(low == 1 for _, low, _ in sure[TABLES[name][2]].values())
    ledger.record(f"p21_may_lead_{key}", first, tolerance=0.3)
schools = " Which school leads hangs on DRAEM, which a laptop hardly trains." if all(hung) else ""  # fmt: skip
WHERE = "the paper's data" if own else "a drawn texture, drawn scenes, a photograph and solar cells"  # fmt: skip
ledger.say(f"Which of sixteen methods is best? On {WHERE} {{p21_first_image[0]}} leads on images ({{p21_first_image[1]:.1f}} % AUROC; {{p21_may_lead_image}} may lead), {{p21_first_pixel[0]}} on pixels ({{p21_first_pixel[1]:.1f}} %; {{p21_may_lead_pixel}} may). Ranks correlate with the printed ones by {{p21_spearman[image AUROC]:+.2f}} and {{p21_spearman[pixel AUROC]:+.2f}}.{schools}", short=True)  # fmt: skip

# %% [markdown]
# What a list of winners does not say: how long each was trained, by whom it was tuned, and how far the ranks would move on other draws of these classes. Here the second is nearly the same for all, the first has its curves, and the third its interval. What stays unequal is the budget: half a second is plenty for a Gaussian a place, half a minute little for a network from nothing.
#
# ## Exercise
# Classes are averaged within a seed, as the paper averages them. Another habit is to rank the methods on each class and seed and to average the ranks: then a class where all are close counts as much as one where they differ by twenty points. Who gains by it?

# %% [markdown]
# ### Solution

# %%
each = scores.pivot_table(index=["seed", "class"], columns="method", values="image")
solution = each.mean().rank(ascending=False).to_frame("rank of the mean")
solution["mean of the ranks"] = each.rank(axis=1, ascending=False).mean()
solution["rank of that"] = solution["mean of the ranks"].rank()
solution = solution.sort_values("rank of the mean").rename(NAMED).rename_axis(None)
plotting.table(solution, "Image AUROC, here", formats="{:.1f}")
moved = (solution["rank of that"] - solution["rank of the mean"]).abs()
ledger.record("p21_moved", float(moved.max()), tolerance=0.5)

# %% tags=["remove-input"]
ledger.say("Nobody much: the largest move is {p21_moved:.0f} of sixteen places.")
