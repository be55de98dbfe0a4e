# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which method when
#
# For people who must choose: the same ten pictures through every method of the book, what each needs, what it finds and where it fails, and one recommendation a situation.
#
# All methods of the package, of all five papers and of their rivals. No claim is judged and no printed value reproduced. Every cell of every table is computed from rows, and so is every name that is recommended: a rule chooses it, the prose only says the rule. The pictures are small and drawn, the trainings short; whoever has other pictures runs this page on them before believing it.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
data_folder = ""  # at scale "paper": a folder that holds mvtec_ad; empty: OTAD_DATA

# %% tags=["hide-input"]
import json

import numpy as np
import pandas as pd

from otad import ledger, plotting
from otad.data.readers.locations import use_location
from otad.judgement import MIN_SEEDS
from otad.studies import benchmark_arena, choosing
from otad.studies import benchmark_results as benchmark
from otad.studies import which_method as study
from otad.studies.runner import code, rows_of

if scale == "paper":
    use_location(data_folder, "mvtec_ad", "dtd")  # says what is missing

# %% [markdown]
# ## Who takes part
# Everybody, each with the settings that a search chose for it on other classes and another seed (pages 21 and 51), or with those of the page that judges it. All that look through a network look through the same one, frozen or as their starting point. CutPaste and NSA train a head on it here, where their papers train a whole network. Patch SVDD's encoder has learnt nothing in so short a training (page 21). (R-D is reverse distillation, P-SVDD Patch SVDD.) TTAD adapts to the pictures that it judges. Three cannot take part:

# %% tags=["hide-input"]
absent = pd.Series(study.ABSENT, name="why").to_frame()
plotting.table(absent, caption="Methods of the package that are not on this page")

# %% [markdown]
# RegAD is measured on page [42](42_foct_results), with few normal pictures.

# %% [markdown]
# ## The arena
# One texture and one scene: leather, and a transistor on its board. A method that learns is given normal pictures of the class; then it sees good pictures and bad ones. What a defect *is* makes three groups, how *large* it is two more, which overlap with the first two:
#
# | group | what |
# |---|---|
# | texture | cuts, holes, stains, blurs, dirt and warps on leather |
# | structural | something on the transistor is damaged: a cut lead, a chip, a scratch, dirt |
# | logical | nothing is damaged, but something is wrong: misplaced, turned, a lead bent into another hole |
# | tiny, large | damage that covers at most half a percent of the picture; at least one percent. (Masks of logical defects are a convention, so they have no size.) |
#
# The groups, these two limits, the classes, the seed and the numbers of pictures were fixed before anything was scored.

# %%
grid = study.setting(scale)
n_train, n_good, n_each = grid["board"]
print(f"{n_train} normal pictures, {grid['side']} pixels; {n_good} good, {n_each} of each kind of defect")  # fmt: skip
cells = study.cells(scale)
LIVE = [c for c in cells if c["what"] == "board" and c["class"] == study.classes(scale)[-1]]  # fmt: skip
LIVE = [c for c in LIVE if c["method"] in ("FCA", "Aota", "PaDiM")]
if scale == "laptop":
    stored = ledger.stored("which_method")
    rows, live = (
        stored.value,
        [r for c in LIVE for r in rows_of(study.STUDY, scale, c)],
    )
else:
    rows = [r for c in cells for r in rows_of(study.STUDY, scale, c)]

# %% tags=["remove-input"]
if scale == "laptop":
    ledger.say(stored.sentence(code(study.STUDY)))
    scores = [c for c in live[0] if c.startswith(("image ", "pixel "))]
    kept = [r for r in rows if r["what"] == "board"]
    pair = 100 / (n_good * n_each)  # one exchanged pair of pictures, and some more
    ledger.agreement("90", live, kept, ["class", "seed", "method"], scores, ["n", "kept"], lambda row: True, pair)  # fmt: skip

# %% [markdown]
# ## Ten pictures through every method
# Chosen by rule, not by eye: of each class the first good picture; of the texture's defects the smallest, those at a quarter and three quarters of the order by size, and the largest; of the transistor's damages the two ends; of its logical defects those at a quarter and three quarters. A row is a method. Its colours have one scale a class: the largest value that any good test picture has anywhere is in the middle, and the scale ends at twice that. So what is brighter than the middle, orange and yellow, is more than anything in a good picture, and a defect without such a place would raise no alarm. Open a school to see it.

# %%
board = {(r["class"], r["method"]): r for r in rows if r["what"] == "board"}
needs = choosing.board(rows)
shown = {name: study.chosen(name, scale) for name in study.classes(scale)[-2:]}


def sheet(school):
    """Draw five pictures of each class, and below them a row of maps a method."""
    some = [m for m in needs.index if choosing.school(m) == school]
    maps = {m: {c: study.unpacked(board[c, m]["maps"])[:5] for c in shown} for m in some}  # fmt: skip
    plotting.sheet(shown, maps, choosing.told_hits(shown, maps))


# %% [markdown]
# ### The picture alone
# FCA, Aota, Weathering and two measures of saliency see no normal picture. What is rare in its own picture is bright, and on a transistor that is the transistor.

# %% tags=["hide-input", "hide-output"]
sheet("the picture alone")

# %% [markdown]
# ### Memories and prototypes
# Patches of normal pictures are kept, some of them (PatchCore, FOCT, FastRecon, TTAD) or what they are transported to (PRADOT).

# %% tags=["hide-input", "hide-output"]
sheet("memories and prototypes")

# %% [markdown]
# ### Densities
# A Gaussian a place (PaDiM, and FYD, which aligns first), or distances to the nearest normal features (SPADE, and PANDA, which tunes the network).

# %% tags=["hide-input", "hide-output"]
sheet("densities")

# %% [markdown]
# ### Flows
# Networks that turn normal features into noise, and say how improbable new ones are.

# %% tags=["hide-input", "hide-output"]
sheet("flows")

# %% [markdown]
# ### Distillation
# Students who have seen nothing but normal pictures.

# %% tags=["hide-input", "hide-output"]
sheet("distillation")

# %% [markdown]
# ### Reconstruction and made-up tasks
# What cannot be rebuilt (DFR, DRAEM), and what a network that was trained on artificial defects or on a puzzle takes for one (CutPaste, NSA, Patch SVDD).

# %% tags=["hide-input", "hide-output"]
sheet("reconstruction and made-up tasks")

# %% [markdown]
# ## How many normal pictures
# Three cheap methods with ever fewer of them, on new draws of both classes; the mean of all kinds of defects. Dotted: FCA, which needs none. *Enough* is the smallest number that cannot be told apart from the best, by paired intervals over seeds that hold for all comparisons together (Bonferroni).

# %%
few = choosing.whole(rows)
by_number = {m: choosing.fewer(few, m) for m in study.FEW if few}
enough = {m: choosing.enough(found) for m, found in by_number.items() if m != "FCA"}

# %% tags=["hide-input"]
if few:
    none = float(by_number["FCA"].mean().iloc[0])
    plotting.curves({"": {m: by_number[m] for m in enough}}, "normal pictures", "image AUROC (%)", {"FCA, which sees none": none}, log=True)  # fmt: skip
    ledger.record("p90_enough", enough)
    ledger.record("p90_by_number", {m: by_number[m].mean().to_dict() for m in enough} | {"FCA": none}, tolerance=0.5)  # fmt: skip

# %% tags=["remove-input"]
here = ", ".join(f"{{p90_enough[{m}]}} for {m}" for m in enough)
ledger.say((f"Enough here: {here}." if few else "No rows yet.") + " On page [42](42_foct_results) are one, two and four pictures on many classes, FOCT among the methods.")  # fmt: skip

# %% [markdown]
# ## What each method needs
# *Normal pictures* are those it was given, *enough* is what was found above. Numbers kept are all that a fitted method would write to a file, four bytes each, without the network that all share. *Trained* are the parameters that gradient descent moves, counted where they are moved: one epoch on pictures of the last class, with whatever of a pretrained network is tuned; 0 is a method without descent, which may learn all the same (a memory, a Gaussian, prototypes by transport). Peak memory is not shown: a row says what must be kept, not what fitting it takes. Seconds and milliseconds are those of one core, the network's look included; they are means of the classes, measured while the rows were computed. Who trains shows in the seconds to fit, TTAD in those a picture; PRADOT's transport takes as long as a training.

# %%
data = study.pictures(study.classes(scale)[-1], study.SEED, scale)
settings = {c["method"]: c["settings"] for c in cells if c["what"] == "board"}
needs["trained"] = [study.trained(m, json.loads(settings[m]), data, scale) for m in needs.index]  # fmt: skip
ledger.record("p90_trained", needs["trained"].to_dict(), tolerance=0.05)

# %% tags=["timing"]
told = needs.assign(school=[choosing.school(m) for m in needs.index])
told["enough"] = [str(enough.get(m, "–")) for m in needs.index]
FORMATS = {"normal pictures": "{:.0f}", "enough": "{}", "fit s": "{:.1f}", "ms a picture": "{:.1f}", "trained": "{:,.0f}", "numbers kept": "{:,.0f}"}  # fmt: skip
plotting.table(told[["school", *FORMATS]], caption="What a method needs", formats=FORMATS, timing=True)  # fmt: skip
ledger.record("p90_costs", needs[["fit s", "ms a picture"]].to_dict(), timing=True, bounds=(0, 10_000))  # fmt: skip
ledger.record("p90_kept", needs["numbers kept"].to_dict(), tolerance=0.01)

# %% [markdown]
# ## What each finds, and what it fails at
# Image AUROC of a group of defects against all good pictures of the class. A method **finds** a group if its whole 95 % interval lies above 75 %, half way from guessing to perfect, and **fails at** it if the whole interval lies below; otherwise these pictures cannot tell. Intervals are DeLong's, over pictures: they are about these detectors, each trained once, and not about a second training. (What a second training changes stands further below. A perfect score has an interval without width: then these pictures cannot show one.)

# %%
kinds = choosing.by_kind(rows, study.GROUPS)
finds = pd.DataFrame({group: found["score"] for group, found in kinds.items()})
half = {g: ((f["high"] - f["low"]) / 2).median() for g, f in kinds.items()}
said = choosing.words(kinds).reindex(needs.index)
found_by = {g: float(np.mean([g in w.split(", ") for w in said["finds"]])) for g in finds}  # fmt: skip
zero_shot = needs["normal pictures"].reindex(finds.index) == 0
best_of = {k: finds[zero_shot == alone].max().to_dict() for k, alone in (("alone", True), ("taught", False))}  # fmt: skip
top = {g: kinds[g]["score"].idxmax() for g in ("structural", "logical")}

# %% tags=["hide-input"]
caption = "Image AUROC (%) by kind of defect"
plotting.table(
    finds.reindex(needs.index).join(said), caption=caption, formats="{:.0f}"
)
ledger.record("p90_image", finds.to_dict(), tolerance=0.5)
ledger.record("p90_half", half, tolerance=0.5)
ledger.record("p90_found_by", found_by, tolerance=0.5)
ledger.record("p90_words", said.to_dict("index"))
ledger.record("p90_best_of", best_of, tolerance=0.5)
ledger.record("p90_ranks", float(finds["structural"].corr(finds["logical"], "spearman")), tolerance=0.9)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("Half of the intervals reach less far than this to either side: " + ", ".join(f"{g} {{p90_half[{g}]:.0f}}" for g in half) + " points. Of all methods, so many find the group: " + ", ".join(f"{g} {{p90_found_by[{g}]:.0%}}" for g in half) + ". The best that sees no normal picture has " + ", ".join(f"{g} {{p90_best_of[alone][{g}]:.0f}}" for g in half) + " %, the best that learns " + ", ".join(f"{g} {{p90_best_of[taught][{g}]:.0f}}" for g in half) + " %. How far the rank on damage tells the rank on logical defects: the rank correlation of the two columns is {p90_ranks:.2f}.")  # fmt: skip

# %% [markdown]
# Finding *that* something is wrong is one thing, showing *where* another. PRO, the share of a defect that is covered while few good pixels are flagged (page [02](02_metrics)), for the same groups; random maps have 15 %.

# %%
frame = pd.DataFrame([r for r in rows if r["what"] == "board"])
where = [f"PRO {group}" for group in finds]
pro = frame.groupby("method")[where].mean().reindex(needs.index)
ledger.record("p90_pro", pro.to_dict(), tolerance=0.5)
plotting.table(pro.rename_axis(index=None), formats="{:.0f}", folded="PRO (%) by kind of defect")  # fmt: skip

# %% [markdown]
# ## Which method when
# The rule, the same for every situation. Take the method with the best mean. Keep all that cannot be told apart from it: those whose paired 95 % interval of the difference, widened so that all comparisons hold together, reaches zero. Drop those that are more than five points behind all the same. Of the rest **the cheapest is recommended**, by the cost that counts in the situation; elsewhere that is the seconds to fit and to judge a thousand pictures. If the best method may be guessing, nobody is recommended.
#
# | situation | rows | what is compared | cost |
# |---|---|---|---|
# | no normal picture, a texture | page [13](13_results) | PRO, over seeds | time |
# | one normal picture; four | page [42](42_foct_results) | image AUROC, over seeds | time |
# | a texture; an object; real defects; where it is | page [21](21_results) | image AUROC, or PRO, over seeds | time |
# | damage; logical; tiny; large | this page | image AUROC, over pictures | time |
# | parts missing, swapped or too many | page [51](51_pradot_results): two methods only | image AUROC, over seeds | time |
# | light or contrast shift | page [36](36_ttad_contrast) | image AUROC under both, at severity 5, over seeds | time |
# | a picture must be quick; a small file; no time to fit | this page, all defects | image AUROC, over pictures | the one that counts |
#
# Rows of other pages are those that are stored at laptop scale.

# %%
time = needs["fit s"] + needs["ms a picture"]  # seconds for a thousand pictures
away = {n: ledger.stored(f"{n}").value for n in ("fca_results", "foct_results", "pradot_results", "ttad_qualitative")}  # fmt: skip
seeds = {
    "no normal picture, a texture": choosing.alone(away["fca_results"]),
    "one normal picture": choosing.few_shots(away["foct_results"], 1),
    "four normal pictures": choosing.few_shots(away["foct_results"], 4),
    "parts missing, swapped, too many": choosing.out_of_place(
        away["pradot_results"]
    ),
    "light or contrast shift": choosing.other_light(away["ttad_qualitative"]),
}
bench, lacking = choosing.contest(benchmark.STUDIES, ledger.stored, MIN_SEEDS)
if not lacking:
    groups = (
        bench["group"].isin(("textures", "photographs")),
        bench["group"] == "scenes",
    )
    real = bench["class"] == benchmark_arena.REAL
    parts = {"a texture": groups[0], "an object": groups[1], "real defects": real}
    seeds |= {
        k: benchmark.by_seed(bench[some], "image") for k, some in parts.items()
    }
    seeds["where it is"] = benchmark.by_seed(bench[groups[0] | groups[1]], "PRO")

# %%
GUESS = {
    "no normal picture, a texture": 15.0,
    "where it is": 15.0,
}  # PRO of random maps
found = {
    k: (choosing.over_seeds(v), time, GUESS.get(k, 50.0)) for k, v in seeds.items()
}
if lacking and "texture" in kinds:
    found["a texture"] = kinds["texture"], time, 50.0
words = {"structural": "damage to an object", "logical": "logical defects", "tiny": "tiny defects", "large": "large defects"}  # fmt: skip
found |= {w: (kinds[g], time, 50.0) for g, w in words.items() if g in kinds}
every = choosing.over_pictures(choosing.tops(rows))
counts = {"a picture must be quick": "ms a picture", "a small file": "numbers kept", "no time to fit": "fit s"}  # fmt: skip
found |= {k: (every, needs[cost], 50.0) for k, cost in counts.items()}
choices = {k: choosing.choose(*parts) for k, parts in found.items()}

# %% tags=["timing", "hide-input"]
table = choosing.recommended(choices, {k: f for k, (f, *_) in found.items()}, seeds)
plotting.table(table, caption="Recommended by the rule; scores in %, with 95 % intervals", timing=True)  # fmt: skip
alike = {k: {"who": ", ".join(c.alike)} for k, c in choices.items()}
plotting.table(pd.DataFrame(alike).T, folded="Who cannot be told apart from the best", timing=True)  # fmt: skip
timed = scale != "laptop"  # what is stored does not change from run to run
ledger.record("p90_choice", {k: c.name for k, c in choices.items()}, timing=timed)
ledger.record("p90_best", {k: c.best for k, c in choices.items()})
ledger.record("p90_score", {k: found[k][0].loc[c.best, "score"] for k, c in choices.items()}, tolerance=0.5)  # fmt: skip
ledger.record("p90_lacking", lacking or "none")

# %% tags=["remove-input"]
if lacking:
    ledger.say("**The benchmark is not whole yet: {p90_lacking}.** Until they are computed, the situations that rest on page 21 are left out, or rest on the rows of this page.")  # fmt: skip

# %% [markdown]
# Read the last columns before the first. Where most methods cannot be told apart from the best, the recommendation says only that nothing dearer has shown a reason. And where the best may be guessing, the table recommends nobody.
#
# ## What a second training changes
# The rows of this page are one training a method and class. How far the same method's image AUROC moves from one seed to the next, with pictures and training drawn anew, page 21 knows for its sixteen:

# %% tags=["hide-input"]
if lacking:
    ledger.record("p90_spread", "not computed yet")
else:
    deviations = bench.groupby(["method", "class"])["image"].std().groupby("method").mean()  # fmt: skip
    deviations = deviations[benchmark.ordered(deviations.index)].rename_axis(None)
    plotting.table(deviations.to_frame("sd over seeds"), formats="{:.1f}", folded="Points of image AUROC, mean of the classes")  # fmt: skip
    ledger.record("p90_spread", float(deviations.median()), tolerance=0.05)

# %% tags=["remove-input"]
ledger.say("That is not known yet." if lacking else "Half of the methods move by less than {p90_spread:.1f} points (standard deviation), half by more. Differences of that order between rows of this page are no findings.")  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.record("p90_top", {g: {"name": m, "score": kinds[g].loc[m, "score"], "alike": len(kinds[g].index[kinds[g]["slack"] <= 0]) - 1} for g, m in top.items()}, tolerance=0.5)  # fmt: skip
ledger.record("p90_n", len(needs))
ledger.say(
    "Which method when? Of {p90_n} on the same small drawn pictures, {p90_top[logical][name]} has the highest image AUROC on logical defects ({p90_top[logical][score]:.0f} %, {p90_top[logical][alike]} others not told apart) "
    "and {p90_top[structural][name]} on damage ({p90_top[structural][score]:.0f} %, {p90_top[structural][alike]}); without any normal picture a texture is left to {p90_choice[no normal picture, a texture]}; "
    "with a single one the rule names {p90_choice[one normal picture]}, and for cells under other light {p90_choice[light or contrast shift]}.",
    short=True,
)

# %% [markdown]
# - Ask first what there is to learn from: how many normal pictures, if any. The table of situations begins there.
# - Then ask what is wrong with the bad pictures. A mean over damage and logical defects hides which of them a method sees.
# - A rule that prefers the cheapest of those that are near the best asks a dear method to show more than a higher mean.
# - Scores of a page are not scores of a factory. What carries over is the order of the questions, and the page itself: it runs on other pictures.
#
# ## Exercise
# Your camera takes a picture every 40 milliseconds, one core has to judge it, and the file must have fewer than a million numbers. You fear damage and logical defects alike. Who is left, and whose worse group is the best?

# %% [markdown]
# ### Solution
# Filter by what is needed, then take the best *minimum*: a mean would forgive a method that is blind to one of the two.

# %% tags=["timing"]
quick, small = needs["ms a picture"] < 40, needs["numbers kept"] < 1_000_000
able = needs.index[quick & small]
worst = finds.loc[able, ["structural", "logical"]].min(axis=1).sort_values(ascending=False)  # fmt: skip
plotting.table(worst.to_frame("the worse of both").head(8), caption="Image AUROC (%), the best of those that are left", formats="{:.0f}", timing=True)  # fmt: skip
ledger.record(
    "p90_exercise", {"name": worst.index[0], "left": len(able)}, timing=timed
)

# %% tags=["remove-input", "timing"]
ledger.say("{p90_exercise[left]} methods are left; {p90_exercise[name]} has the best of the worse groups.")  # fmt: skip
