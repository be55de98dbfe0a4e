# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PRADOT: the results
#
# A memory that keeps every patch it can, against a grid of averages that know where they belong: who finds the missing nut, and who finds the scratch?
#
# *Learning Local and Global Prototypes with Optimal Transport for Unsupervised Anomaly Detection and Localization*, Section 4.2, Tables 1, 3 and 4, Figure 2. Five claims are judged. **pradot-01**: where anomalies are logical, PRADOT beats PatchCore, in detection and in localisation. **pradot-03**: where they are not, PatchCore is ahead. **pradot-17**: structural anomalies are localised better than logical ones. Two more are about the printed tables themselves: **pradot-02**, PRADOT ranks second on MVTec AD LOCO in both metrics, and **pradot-20**, the classes where it falls behind PatchCore are small or freely posed objects.
#
# The paper has MVTec AD LOCO and MVTec AD; so has this page at `scale="paper"`. Otherwise it draws and borrows its own pictures: that tests the claims on other data and reproduces no printed value.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 100  # the first of the verdicts' seeds: 0 and 1 were used up in choosing the protocol
data_folder = ""  # at scale "paper": a folder that holds mvtec_loco and mvtec_ad; empty: OTAD_DATA

# %% tags=["hide-input"]
import pandas as pd
import torch

from otad import ledger, plotting
from otad.data import annotations
from otad.data.packaged import solar
from otad.data.readers.locations import use_location
from otad.machine import seconds
from otad.scale import device, pick
from otad.studies import pradot_results as study, pradot_rivals as rivals
from otad.studies import scoring
from otad.studies.runner import code, rows_of

if scale == "paper":
    use_location(data_folder, "mvtec_loco", "mvtec_ad", "dtd")

# %% [markdown]
# ## Stand-ins
# | here | classes | stands where the paper has |
# |---|---|---|
# | **scenes** | transistor, tray, bottle, dish: each with four kinds of logical and four of structural defects | MVTec AD LOCO |
# | **panel** | five procedural textures, three photographs, two kinds of solar cells with planted defects, and the transistor once more | MVTec AD |
#
# MVTec AD has a transistor whose defects are partly logical (it lies in the wrong place, a leg is cut): so the scene of that name sits in both rows. Its bottles and toothbrushes have no stand-in. A seed draws new pictures, new defects, a new start of the prototypes, and new halves of the photographs.

# %%
GROUPS, grid = study.arena(scale), study.setting(scale)
side, n_seeds, p = grid["side"], study.n_seeds(scale), grid["p"]
LOGICAL, PANEL, SHARED = study.parts(scale)
print(*(f"{g}: {', '.join(names)}" for g, names in GROUPS.items()), sep="\n")

# %% [markdown]
# ## The contestants
# **PRADOT** as its text has it: Equation 1 with the square, Gaussian start, global ($\alpha = 0$) and local ($\alpha = 0.3$) prototypes on two stages, four maps averaged, the image's score is the map's maximum. Two constants are cut to the laptop's size: $n = 4$ prototypes a cell instead of 16 and an average that forgets faster, $\eta = 0.8$ instead of 0.95, because it sees a few dozen batches and not hundreds. **PatchCore** with its own defaults, a tenth of the patches chosen greedily, with one exception: it averages features over $p \times p$ pixels first, and $p$ is 1 here. Its three pixels of stride 8 are a tenth of a picture of 224 pixels and a fifth of ours; which $p$ it gets is searched for below, and the same search is made for PRADOT. The paper cites PatchCore, names no setting and copies its numbers from a benchmark, so we cannot know which PatchCore it beat; three more rows say what depends on that. **All patches** keeps the whole memory. **Cosine** scales every feature vector to length one first: PRADOT compares directions, PatchCore distances. And **p = 3** is the default taken literally.
#
# Three numbers. *Image AUROC*: are defective pictures ranked above good ones? *Pixel AUROC*: are defective pixels? *AU-sPRO*: the share of each defect that is found, up to what is enough, averaged over thresholds that mark at most 5 % of the good pixels (page 02). On LOCO and our scenes logical and structural defects are judged apart, each beside all good pictures, and then averaged, as that data set's own evaluation does.
#
# ## The run
# All classes and seeds are the study `otad.studies.pradot_results`, kept in `results/`, and the verdicts are its. The page computes one seed of eight classes afresh with the same function. PatchCore learns nothing by steps, so its rows must come out as stored, but for one exchanged pair of pictures; how far PRADOT's may move on another processor is told by their spread over seeds.

# %%
net, other = study.networks(scale)
METHODS = list(study.contestants(net, other, seed, scale))
cells = study.cells(scale)
SHOWN = (*GROUPS[LOGICAL], "carpet", "tile", "brick", "poly")
LIVE = [c for c in cells if c["class"] in SHOWN and c.get("seed", seed) == seed]
kept = {c["class"]: study.scored(c, scale) for c in LIVE}
live = [c | r for c in LIVE for r in study.judge(*kept[c["class"]], scale)]
if scale == "laptop":
    stored = ledger.stored("pradot_results")
    rows = stored.value
else:
    rest = [c for c in cells if c not in LIVE]
    rows = live + [row for c in rest for row in rows_of(study.STUDY, scale, c)]

# %% tags=["hide-input"]
METRICS = [k for k in live[0] if k.startswith(("image", "pixel", "sPRO"))]
if scale == "laptop":
    ledger.say(f"{stored.sentence(code(study.STUDY))} The other methods: {ledger.stored('pradot_rivals').sentence(code(rivals.STUDY))}")  # fmt: skip
    judged = [row for row in rows if row["what"] == "score"]
    of = ["group", "class", "seed", "method"]
    rounding = 100 / (grid["n_good"] * 4 * grid["n_each"])
    ledger.agreement("51", live, judged, cell=of, scores=METRICS, untrained=lambda row: row["method"] != "PRADOT", rounding=rounding)  # fmt: skip
frame = pd.DataFrame(rows)
scores, curves, tried = (frame[frame["what"] == w] for w in ("score", "curve", "search"))  # fmt: skip

# %% [markdown]
# ## Has it learnt enough?
# A short training is an easy way to make a method look bad. So on two held-out seeds the learning loop was left to run for twice as long as it is given below, and scored on the way: the loop is Algorithm 1, as on page 50. Look for the flat part of the curves, and whether six passes, where the protocol stops, are in it.

# %% tags=["hide-input"]
if len(curves):
    x, last, stop = "passes over the normal pictures", max(grid["marks"]), grid["method"]["epochs"]  # fmt: skip
    parts = {f"{c}, seed {s}": t.set_index("epochs") for (c, s), t in curves.groupby(["class", "seed"])}  # fmt: skip
    column = {c: {k: t[[c]].T for k, t in parts.items()} for c in ("cost", "image mean", "sPRO mean")}  # fmt: skip
    plotting.curves({"": column["cost"]}, x, "transport cost")
    both = {"image AUROC": column["image mean"], "AU-sPRO": column["sPRO mean"]}
    plotting.curves(both, x, "%")
    gains = [t["sPRO mean"][last] - t["sPRO mean"][stop] for t in parts.values()]
    ledger.record("p51_longer", sum(gains) / len(gains), tolerance=0.5)

# %% tags=["remove-input"]
if len(curves):
    ledger.say("Twice the learning changes AU-sPRO by {p51_longer:+.1f} points on the held-out seeds, so the protocol stops after six passes. Detection on the tray drifts down beyond: stopping there does PRADOT no harm.")  # fmt: skip

# %% [markdown]
# ## Which neighbourhood?
# The same two seeds chose $p$, by the same search for both methods: $p = 1$ and $p = 3$, on the same two scenes. PRADOT knows no such average; here it may have one. The better value is given to each. (Its learning was also looked at, at each dot of the curves above, so of the two PRADOT had more tries.) Compare 1 and 3 in each pair of rows.

# %%
if len(tried):
    by = tried.astype({"p": int}).groupby(["method", "class", "p"], sort=False)
    offered = by[["image mean", "sPRO mean"]].mean()
    offered.columns = ["image AUROC", "AU-sPRO"]
    caption = "Both methods on the held-out seeds (%)"
    plotting.table(offered.reset_index(), caption, formats="{:.1f}")
    over = offered.groupby(["method", "p"]).mean()
    found = {f"{m} {k}": row.tolist() for (m, k), row in over.iterrows()}
    ledger.record("p51_search", found, tolerance=0.03)

# %% tags=["remove-input"]
if len(tried):
    ledger.say("On the two scenes PRADOT has {p51_search[PRADOT 1][0]:.1f} % image AUROC and {p51_search[PRADOT 1][1]:.1f} % AU-sPRO with $p = 1$, and {p51_search[PRADOT 3][0]:.1f} % and {p51_search[PRADOT 3][1]:.1f} % with $p = 3$; PatchCore {p51_search[PatchCore 1][0]:.1f} % and {p51_search[PatchCore 1][1]:.1f} %, and {p51_search[PatchCore 3][0]:.1f} % and {p51_search[PatchCore 3][1]:.1f} %. So both are judged with $p = 1$, for PRADOT the method as printed.")  # fmt: skip

# %% tags=["hide-input"]
said = ledger.protocol("pradot")
hyper = {k: v.get("value") for k, v in said["hyperparameters"].items() if k[0] != "i"}  # fmt: skip
loco, ad = said["datasets"]["mvtec_loco"], said["datasets"]["mvtec_ad"]
own, m = scale == "paper", grid["method"]
card = f"""data | MVTec AD LOCO, 5 classes; MVTec AD, {ad["classes"]} | {sum(map(len, GROUPS.values()))} classes
normal pictures a class | {loco["train_images_per_class"]} (LOCO), {ad["train_images_per_class"]} (MVTec AD) | {"as printed" if own else grid["n_train"]}
test pictures a class | {loco["test_images_per_class"]} (LOCO), {ad["test_images_per_class"]} (MVTec AD) | {f"{n_seeds} disjoint parts" if own else f"{grid['n_good']} good, {grid['n_each']} of each of 8 kinds (scenes) or 6"}
picture | {said["input"]}, resized, method not stated | {side}x{side}, {"resized bilinearly" if own else "no resizing"}
backbone | {said["backbone"]}, stages 2 and 3, {" and ".join(said["layers"]["grids"])} | {net.name}, {net.weights}, strides {" and ".join(map(str, net.strides))}, {" and ".join(f"{side // k}x{side // k}" for k in net.strides)}
n, α, η, ε | {hyper["n"]}; {hyper["alpha_global"]} and {hyper["alpha_local"]}; {hyper["eta"]}; {hyper["epsilon"]} | {m["n"]}; 0 and 0.3; {m["eta"]}; 0.01
learning | {hyper["epochs"]} epochs, batches of {hyper["batch_size"]}, {hyper["sinkhorn_iterations"]} Sinkhorn iterations | {m["epochs"]} epochs, batches of {m["batch_size"]}, {m["max_iter"]} iterations; the last epoch is used
maps | {said["pixel_score"]} | the same; bilinear; no smoothing
image score | {said["image_score"]} | the same
PatchCore | {said["baselines"]} | {other.name}, same strides; p = {p}; coreset 10 % (or all); Eq. 7; σ = {4 * side / 224:.1f} pixels
ground truth | not stated | {side}x{side}, {"nearest" if own else "exact by construction"}
AU-sPRO | limit 0.05 | limit 0.05, one mask a defect, logical and structural apart, then averaged"""
plotting.card(card, ("", "printed", "here"))


# %% [markdown]
# ## Figure 2: found and missed
# For each class the defective picture that PRADOT localises best and the one it localises worst, by AU-sPRO of the picture beside all good ones; so every second row is chosen to look bad. One colour scale a method. See what is missed, and whether PatchCore misses the same. First the scenes, then textures, a photograph and a solar cell.


# %%
def examples(names):
    """Of each class the picture that PRADOT localises best, and the worst."""
    shown = []
    for name in names:
        data, found = kept[name]
        marks = scoring.each_localised(data, found["PRADOT"].maps)
        chosen = plotting.best_and_worst(marks)
        shown += [(name, data, found, i, f"AU-sPRO {marks[i]:.0f}") for i in chosen]
    plotting.show_maps(
        torch.stack([d.test[i] for _, d, _, i, _ in shown]),
        torch.stack([d.masks[i] for _, d, _, i, _ in shown]),
        {m: torch.stack([f[m].maps[i] for _, _, f, i, _ in shown]) for m in DRAWN},
        [f"{n}\n{d.kinds[i].replace('_', ' ')}" for n, d, _, i, _ in shown],
        notes={"PRADOT": [note for *_, note in shown]},
        shows=["pradot Figure 2"],
    )


DRAWN = METHODS[0], METHODS[1], study.COSINE
examples([c for c in kept if c in GROUPS[LOGICAL]])
examples([c for c in kept if c not in GROUPS[LOGICAL]])
if scale != "paper":
    ledger.say(solar.NOTICE)

# %% [markdown]
# ## Table 1: anomalies of logic, anomalies of matter
# Percent, mean of the classes; ± is half the 95 % interval over seeds. Printed are the classes of MVTec AD LOCO, then of MVTec AD, at 224 pixels; measured our four scenes, then textures, photographs, cells and the transistor, where hardly anything can be wrong except what is damaged. Compare the order of PRADOT and PatchCore, and the size of the step. The other methods of the table, as the benchmark's pages have them, have fewer seeds and no interval: each with settings searched on other classes.

# %%
SCORES = [
    ("scenes", "mvtec_loco", "image AUROC", "image_auroc", "image mean"),
    ("scenes", "mvtec_loco", "AU-sPRO", "spro_0.05", "sPRO mean"),
    ("panel", "mvtec_ad", "image AUROC", "image_auroc", "image"),
    ("panel", "mvtec_ad", "pixel AUROC", "pixel_auroc", "pixel"),
]
NAMES = ["CutPaste", "STPM", "PaDiM", "SPADE", "FastFlow"]
NAMES += ["DRAEM", "PatchCore", "RD4AD", "PRADOT"]


def in_print(*table):
    """One metric of a printed table: a row a method, a column a class."""
    found = ledger.printed("pradot", *table)
    return found.rename(index={name.lower(): name for name in NAMES})


def sided(old, new, methods):
    """For each class a row as printed and a row here; a column a method."""
    both = pd.concat({"printed": old, "here": new})[methods].swaplevel()
    both = pd.concat(rows for _, rows in both.groupby(level=0, sort=False))
    return both.set_axis([f"{c}, {k}".replace("_", " ") for c, k in both.index])


# %%
def divided(table):
    """The rows of the scenes, and those of the panel."""
    in_panel = table["group"].isin(PANEL) | table["class"].isin(SHARED)
    return {"scenes": table[table["group"] == LOGICAL], "panel": table[in_panel]}


if scale == "paper":
    others = [r for c in rivals.cells(scale) for r in rows_of(rivals.STUDY, scale, c)]  # fmt: skip
else:
    others = ledger.stored("pradot_rivals").value
PARTS, OTHERS = divided(scores), divided(pd.DataFrame(others))
n_few = OTHERS["panel"]["seed"].nunique()

# %%
by_seed, ends = {}, {}
for part, table in PARTS.items():
    by_seed[part] = table.groupby(["method", "seed"], sort=False)[METRICS].mean()
    ends[part] = ledger.over_seeds(by_seed[part])
for part, dataset, label, printed, column in SCORES:
    old = in_print("Table 1", dataset, printed)["mean"].reindex(NAMES)
    mean, half = (table[column] for table in ends[part])
    mean = pd.concat([mean, rivals.means(OTHERS[part])[column]])
    caption = f"Table 1, {dataset}, and {part} here: {label} (%), {n_seeds} seeds; the other methods {n_few}"  # fmt: skip
    plotting.beside(old, mean, half, caption=caption, shows=["pradot Table 1"])
for key, part in (("loco", "scenes"), ("ad", "panel")):
    columns = [column for where, *_, column in SCORES if where == part]
    found = ends[part][0][columns].T.to_dict("list")
    ledger.record(f"p51_table_1_{key}", found, tolerance=0.02)

# %%
there = {}
for metric in ("image_auroc", "pixel_auroc"):
    rows_4 = in_print("Table 4", "mvtec_ad", metric).T
    lead = rows_4["PatchCore"] - rows_4["PRADOT"]
    there[f"{metric} mean"] = lead["mean"]
    there[f"{metric} rows"] = lead.drop("mean").mean()
    there[f"{metric} PatchCore"] = rows_4.loc["mean", "PatchCore"]
ledger.record("p51_printed_leads", there)

# %% tags=["remove-input"]
ledger.say("By the printed means PatchCore leads by {p51_printed_leads[image_auroc mean]:.1f} points of image AUROC and {p51_printed_leads[pixel_auroc mean]:.1f} of pixel AUROC. The second is not what the fifteen rows of Table 4 say: their mean is not the {p51_printed_leads[pixel_auroc PatchCore]:.1f} % that is printed for PatchCore, and by the rows it leads by {p51_printed_leads[pixel_auroc rows]:.1f} points (by {p51_printed_leads[image_auroc rows]:.1f} of image AUROC).")  # fmt: skip

# %%
logic, plain = (by_seed[part].unstack("method") for part in PARTS)
gaps = {"logic_image": logic["image mean"], "logic_spro": logic["sPRO mean"]}
gaps |= {"plain_image": plain["image"], "plain_pixel": plain["pixel"]}
banks = dict(zip(("core", "all", "cosine", "other"), METHODS[1:], strict=True))
ahead = {}
for key, table in gaps.items():
    for short, rival in banks.items():
        ahead[key, short] = (table["PRADOT"] - table[rival]).tolist()
        ledger.span(f"p51_ahead_{key}_{short}", ahead[key, short], tolerance=0.1)

# %% tags=["remove-input"]
ledger.say("On scenes PRADOT is {p51_ahead_logic_image_core[mean]:+.1f} points of image AUROC [{p51_ahead_logic_image_core[low]:+.1f}, {p51_ahead_logic_image_core[high]:+.1f}] and {p51_ahead_logic_spro_core[mean]:+.1f} of AU-sPRO [{p51_ahead_logic_spro_core[low]:+.1f}, {p51_ahead_logic_spro_core[high]:+.1f}] from PatchCore; from the whole memory {p51_ahead_logic_image_all[mean]:+.1f} and {p51_ahead_logic_spro_all[mean]:+.1f}, from the one with cosines {p51_ahead_logic_image_cosine[mean]:+.1f} and {p51_ahead_logic_spro_cosine[mean]:+.1f}. On the panel it is {p51_ahead_plain_image_core[mean]:+.1f} of image AUROC [{p51_ahead_plain_image_core[low]:+.1f}, {p51_ahead_plain_image_core[high]:+.1f}] and {p51_ahead_plain_pixel_core[mean]:+.1f} of pixel AUROC [{p51_ahead_plain_pixel_core[low]:+.1f}, {p51_ahead_plain_pixel_core[high]:+.1f}]; from the whole memory {p51_ahead_plain_image_all[mean]:+.1f} and {p51_ahead_plain_pixel_all[mean]:+.1f}, with cosines {p51_ahead_plain_image_cosine[mean]:+.1f} and {p51_ahead_plain_pixel_cosine[mean]:+.1f}.")  # fmt: skip

# %% [markdown]
# ## What decides: a length
# Read the row *cosine* against the others. PRADOT looks at the direction of a feature vector and at nothing else; PatchCore measures distances, in which length counts. Is it the prototypes that make the difference, or is it that?

# %% tags=["remove-input"]
if scale != "paper":
    ledger.say("Once PatchCore, too, looks at directions alone, PRADOT's distance to it goes from {p51_ahead_logic_spro_core[mean]:+.1f} to {p51_ahead_logic_spro_cosine[mean]:+.1f} points of AU-sPRO on scenes, and from {p51_ahead_plain_pixel_core[mean]:+.1f} to {p51_ahead_plain_pixel_cosine[mean]:+.1f} points of pixel AUROC on the panel. The two change in opposite senses: on the scenes, and most on the bottle, length seems to be knowledge (how strong is the edge of the juice?), on textures it is noise (how much contrast has this patch?). What is left, {p51_ahead_logic_spro_cosine[mean]:+.1f} and {p51_ahead_plain_pixel_cosine[mean]:+.1f}, is the difference between a grid of learnt averages and a memory with the same eyes, as a mean: scene by scene it has both signs. And the row with $p = 3$ says how easily a rival is made weak: with it, PRADOT leads by {p51_ahead_logic_spro_other[mean]:.1f} points of AU-sPRO on the scenes.")  # fmt: skip

# %% [markdown]
# ## Table 3: class by class, where logic is at stake
# In print (folded, with our scenes and all methods) RD4AD leads in localisation, except on the breakfast box, which has a fixed layout: there PRADOT does. The classes differ: compare the order of the methods. Then our scenes for PRADOT and the kinds of PatchCore. The dish is the scene where nothing has a place, and number is all that can be wrong: prototypes that know where they belong have no business being good there. Last, PRADOT and PatchCore split by what is wrong: each pair of columns is one number for logical and one for structural defects.

# %%
by_class = scores.groupby(["group", "class", "method"], sort=False)[METRICS].mean()
theirs = {k: t.groupby(["class", "method"])[METRICS].mean() for k, t in OTHERS.items()}  # fmt: skip
SEEDS = f"Here PRADOT and PatchCore have {n_seeds} seeds, the others {n_few}"
for part, dataset, label, printed, column in SCORES[:2]:
    form = {"formats": "{:.1f}", "shows": ["pradot Table 3"]}
    here = by_class.loc[LOGICAL, column].unstack("class").loc[METHODS]
    here = pd.concat([here, theirs[part][column].unstack("class")])
    here = here[list(GROUPS[LOGICAL])].rename_axis(index=None, columns=None)
    here["mean"] = here.mean(axis=1)
    there = sided(in_print("Table 3", dataset, printed).T, here.T, NAMES)
    fold = f"Table 3, all methods, printed and here: {label} (%)"
    plotting.table(there, SEEDS, folded=fold, **form)
    plotting.table(here.loc[METHODS], f"{label} (%), here, {n_seeds} seeds", **form)
both = by_class.loc[LOGICAL, ["image mean", "sPRO mean"]]
found = {f"{c} {m}": row.tolist() for (c, m), row in both.iterrows()}
ledger.record("p51_table_3", found, tolerance=0.02)

# %%
SPLIT = [f"{m} {g}" for m in ("image", "sPRO") for g in annotations.GROUPS]
parts = by_class.loc[LOGICAL, SPLIT].reset_index()
parts = parts[parts["method"].isin(METHODS[:2])]
total = parts.groupby("method", sort=False)[SPLIT].mean()
last = total.reset_index().assign(**{"class": "mean"})
parts = pd.concat([parts, last], ignore_index=True)
caption = "Image AUROC and AU-sPRO (%) by group of defects"
plotting.table(parts, caption, formats="{:.1f}", shows=["pradot Table 3"])
ledger.record("p51_split", total.T.to_dict("list"), tolerance=0.02)

# %% [markdown]
# ## Table 4: class by class, where it is not
# Classes of the same name stand side by side; they are not the same pictures. The picture has PatchCore less PRADOT in image AUROC, class by class: right of the line PRADOT falls behind. In print the gaps grow at the top, where objects are small or lie as they like (toothbrush, screw, capsule); textures sit around zero. The other methods are folded: print has no numbers of CutPaste and RD4AD in this table, and ours, as in Table 3, have fewer seeds than PRADOT's.

# %%
two = PARTS["panel"].groupby(["class", "method"], sort=False)[METRICS].mean()
ad, here_4, form = {}, {}, {"shows": ["pradot Table 4"]}
for _, dataset, label, printed, column in SCORES[2:]:
    ad[column] = in_print("Table 4", dataset, printed).T
    here_4[column] = two[column].unstack("method").rename_axis(index=None)
    mine = [t[["PatchCore", "PRADOT"]] for t in (ad[column], here_4[column])]
    plotting.beside(*mine, caption=label, folded=f"Table 4: {label} (%)", **form)
    rest = theirs["panel"][column].unstack()
    rest = sided(ad[column], rest, list(rest))
    fold = f"Table 4, the other methods, printed and here: {label} (%)"
    plotting.table(rest, SEEDS, formats="{:.1f}", folded=fold, **form)
both = two[["image", "pixel"]]
found = {f"{c} {m}": row.tolist() for (c, m), row in both.iterrows()}
ledger.record("p51_table_4", found, tolerance=0.02)
behind = (ad["image"]["PatchCore"] - ad["image"]["PRADOT"]).drop("mean")
behind = behind.sort_values(ascending=False)
here = here_4["image"]["PatchCore"] - here_4["image"]["PRADOT"]
label = "PatchCore less PRADOT, image AUROC (points)"
plotting.dots(behind, here, label=label, shows=["pradot Table 4"], zero=True)

# %% [markdown]
# ## Two claims about print
# **pradot-02** and **pradot-20** speak of the tables, so the tables judge them. Rank two means: exactly one method above. The margin is how much the third would have to gain, or PRADOT to lose, before that changed.

# %%
margins, ranks, padim = [], [], {}
for metric, first in (("image_auroc", "CutPaste"), ("spro_0.05", "RD4AD")):
    column = in_print("Table 1", "mvtec_loco", metric)["mean"].dropna()
    mine, rest = column["PRADOT"], column.drop("PRADOT").sort_values()
    assert rest.index[-1] == first
    margins.append(min(mine - rest.iloc[-2], rest.iloc[-1] - mine))
    classes = in_print("Table 3", "mvtec_loco", metric).drop(columns="mean")
    means = classes.mean(axis=1, skipna=False)
    ranks.append(int((means > means["PRADOT"]).sum() + 1))
    for table in ("Table 1", "Table 3"):
        padim[table] = in_print(table, "mvtec_loco", metric).loc["PaDiM", "mean"]
ledger.record("p51_rank_margins", margins)
ledger.record("p51_rank_from_classes", ranks)
ledger.record("p51_padim", padim)

# %%
why = f"Second behind CutPaste by image AUROC, where the next is {margins[0]:.1f} points behind, and behind RD4AD by AU-sPRO, where it is {margins[1]:.1f}. Averaging the printed classes of Table 3 anew gives the same ranks. PaDiM's AU-sPRO is {padim['Table 1']:.1f} in Table 1 and {padim['Table 3']:.1f} in Table 3; neither changes the rank. CutPaste has no AU-sPRO, so second of nine and second of eight."
ledger.from_published("pradot-02", min(margins) > 0, min(margins), why)

# %%
small = ["toothbrush", "screw", "capsule"]  # named by the claim
margin = float(behind[small].min() - behind.drop(small).max())
leads = ", ".join(f"{v:.1f} on {c}" for c, v in behind.iloc[:3].items())
ledger.record("p51_behind", behind.iloc[:4].to_dict())
why = f"PatchCore's lead is {leads}; the next is {behind.index[3]} with {behind.iloc[3]:.1f}. That these objects are small or lie freely is one reading; the toothbrush is also the class with the fewest normal pictures, fewer than a batch of the public code (page 55)."
ledger.from_published("pradot-20", margin > 0, margin, why)

# %% [markdown]
# ## Verdicts
# Two inequalities for each of the first two claims, detection and localisation; a seed gives each a margin, in points, the mean of the classes. A point is what page 52 calls "about equal", and what would have to be exceeded for a difference to matter. PatchCore is the one that the search chose; the paper names none.

# %%
RULE = study.rule(scale)
ELSEWHERE = "" if scale == "paper" else " Other pictures than the paper's."
NAMED = dict.fromkeys(gaps, "detection, image AUROC")
NAMED |= {"logic_spro": "localisation, AU-sPRO"}
NAMED |= {"plain_pixel": "localisation, pixel AUROC"}


def against(what, short, sign):
    """The inequalities of PRADOT's lead (sign 1) or PatchCore's (-1), a margin a seed."""
    order = "PRADOT > PatchCore" if sign > 0 else "PatchCore > PRADOT"
    some = {NAMED[k]: ahead[k, short] for k in gaps if k.startswith(what)}
    return {f"{n}: {order}": [sign * x for x in m] for n, m in some.items()}


# %%
def told(what, sign):
    """What the claim comes to against the other kinds of PatchCore."""
    words = []
    for short, rival in list(banks.items())[1:]:
        word = ledger.judge(against(what, short, sign)).word
        words.append(f"{rival.removeprefix('PatchCore, ')} {ledger.spoken(word)}")
    return f"Against PatchCore's variants: {'; '.join(words)}."


def listed(values):
    return ", ".join(f"{name} {v:+.1f}" for name, v in values.items())


# %%
each = {g: logic[f"sPRO {g}"] for g in annotations.GROUPS}
each = {g: (t["PRADOT"] - t["PatchCore"]).mean() for g, t in each.items()}
lead = by_class.loc[LOGICAL, "sPRO mean"].unstack().loc[list(GROUPS[LOGICAL])]
sense = "the reverse of an explanation by logic"
if each["logical"] > each["structural"]:
    sense = "as an explanation by logic would have it"
found = {k: ledger.judge(against("logic", k, 1)).word for k in ("core", "other")}
words = {k: ledger.spoken(word) for k, word in found.items()}
reading = f"It depends on the rival. With p = {p}, which one search on held-out seeds chose for both methods: {words['core']}. Against PatchCore with p = {4 - p}, its own default, which here covers {224 / side:.2g} times the share of the picture that it covers at 224 pixels: {words['other']}."
why = f"By AU-sPRO PRADOT is {each['logical']:+.1f} points from PatchCore on logical and {each['structural']:+.1f} on structural defects, {sense}; by class {listed(lead['PRADOT'] - lead['PatchCore'])}. {told('logic', 1)}{ELSEWHERE}"
if scale == "paper" or words["core"] == words["other"]:
    reading = ""
margins = against("logic", "core", 1)
ledger.verdict("pradot-01", margins, why=why, reading=reading, **RULE)

# %%
leads = []
for group in (g for g in PANEL if GROUPS[g]):
    t = by_class.loc[group].groupby("method")[["image", "pixel"]].mean()
    by = (t.loc["PatchCore"] - t.loc["PRADOT"]).tolist()
    leads.append(f"{group} {by[0]:+.1f} / {by[1]:+.1f}")
here = f" Here PatchCore remembers {grid['n_train']} normal pictures, there up to 300 (what that is worth, the exercise asks); and the features are EfficientNet-Lite0's, whose lengths carry contrast: cosines alone close most of the gap."
why = f"PatchCore's lead in image / pixel AUROC: {', '.join(leads)}. {told('plain', -1)}{'' if scale == 'paper' else here}{ELSEWHERE}"
margins = against("plain", "core", -1)
ledger.verdict("pradot-03", margins, why=why, **RULE)

# %%
apart = logic["sPRO structural"] - logic["sPRO logical"]
single = by_class.loc[LOGICAL].xs("PRADOT", level="method")
why = f"By class: {listed(single['sPRO structural'] - single['sPRO logical'])}; PatchCore has {apart['PatchCore'].mean():+.1f}. The two groups have different masks and different areas that are enough, so the gap measures the annotation as well as the method.{ELSEWHERE}"
margins = {"AU-sPRO: structural > logical": apart["PRADOT"].tolist()}
ledger.verdict("pradot-17", margins, why=why, **RULE)
judged = ("pradot-01", "pradot-03", "pradot-17")
found = {claim: ledger.recorded(f"verdict {claim}") for claim in judged}
plotting.margins(found, effects=dict.fromkeys(judged, RULE["smallest_effect"]))

# %% [markdown]
# ## Paper against code
# What this page had to decide for the tables, and what the text and the public code say; page 55 measures the differences.
#
# | | the paper | the authors' code | here |
# |---|---|---|---|
# | seeds | not stated | one, 0 | several, counted above the large tables; prototypes and data drawn anew |
# | which epoch | not stated | the one of least validation cost | the last |
# | image score on LOCO | AUROC | official evaluation: logical and structural apart, then the mean | the same |
# | AU-sPRO on LOCO | following the data set's authors | defects of a picture merged into one mask of 224 pixels | one mask a defect |
# | stages, local and global | averaged | four separate runs, their maps averaged | one object, the same mean |
# | PatchCore's numbers | copied from a benchmark | – | measured, with variants |
#
# ## What it costs
# Seconds a class, to learn and to score one picture. PRADOT pays when it learns; a memory pays when it is asked, if it keeps every patch.

# %% tags=["timing", "hide-input"]
data = next(iter(kept.values()))[0]
costs, columns = {}, ["learn (s)", "score a picture (ms)", "kept (MB)"]
for name, method in study.contestants(net, other, 0, scale).items():
    spent = [seconds(lambda m=method: m.fit(data.train.to(device())), 1)]
    spent += [seconds(lambda m=method: m.score(data.test[:1].to(device())), 3)]
    ours = [p for stage in getattr(method, "prototypes_", []) for p in stage.values()]  # fmt: skip
    size = sum(t.numel() for t in ours or [method.memory_])
    costs[name] = [spent[0], 1000 * spent[1], 4e-6 * size]
costs = pd.DataFrame(costs, index=columns).T
ledger.record("p51_learn_seconds", costs["learn (s)"].to_dict(), timing=True)
caption = f"One class, {len(data.train)} normal pictures of {side} pixels"
formats = dict(zip(columns, ("{:.2f}", "{:.0f}", "{:.2f}"), strict=True))
plotting.table(costs, caption, formats=formats, timing=True)

# %% [markdown]
# What PRADOT keeps does not grow with the number of normal pictures; at the paper's size it is $16 \cdot (28^2 \cdot 512 + 14^2 \cdot 1024)$ numbers for each $\alpha$. While it learns, the plan of a batch is the largest thing in memory: $4\, BHW \cdot nHW$ bytes.
#
# ## What we found

# %% tags=["remove-input"]
WHERE = "the paper's data." if scale == "paper" else "drawn scenes, textures, photographs and solar cells."  # fmt: skip
ledger.say(
    "Who wins, prototypes or a memory? PRADOT less PatchCore is {p51_ahead_logic_spro_core[mean]:+.1f} points of AU-sPRO [{p51_ahead_logic_spro_core[low]:+.1f}, {p51_ahead_logic_spro_core[high]:+.1f}] on what stands for LOCO, logical and structural defects together, and on what stands for MVTec AD {p51_ahead_plain_pixel_core[mean]:+.1f} points of pixel AUROC [{p51_ahead_plain_pixel_core[low]:+.1f}, {p51_ahead_plain_pixel_core[high]:+.1f}], on "
    + WHERE,
    short=True,
)

# %% [markdown]
# ## Exercise
# A memory should gain from more normal pictures, an average should not care much. Halve the normal pictures, and halve them again, on one scene and one texture. Who loses more? And would you expect the printed gap on MVTec AD, with a few hundred pictures, from what you see?

# %% [markdown]
# ### Solution
# Pixel AUROC of the first seed, with the learning of PRADOT kept at the same number of batches.

# %%
WHICH = pick(scale, smoke=("carpet",), laptop=("tray", "tile"))
SHARES = pick(scale, smoke=(1,), laptop=(4, 2, 1))
halved = [c for c in LIVE if c["class"] in WHICH]
solution = [c | row for c in halved for row in study.fewer(c, scale, SHARES)]
key = ["class", "normal pictures", "method"]
solution = pd.DataFrame(solution, columns=[*key, "pixel"])
few = solution.set_index(key)["pixel"].unstack()[METHODS[:2]]
shown = few.reset_index().rename_axis(columns=None)
plotting.table(shown, "Pixel AUROC (%)", formats="{:.1f}")
found = {f"{c} {n}": row.tolist() for (c, n), row in few.iterrows()}
ledger.record("p51_few", found, tolerance=0.02)
ends = few.groupby("class", sort=False)
gains = (ends.last() - ends.first()).mean()
ledger.record("p51_few_gains", gains.to_dict(), tolerance=0.3)

# %% tags=["remove-input"]
ledger.say("From the fewest to all, PatchCore gains {p51_few_gains[PatchCore]:+.1f} points and PRADOT {p51_few_gains[PRADOT]:+.1f}, mean of the classes. One seed and one metric: enough for a guess, not for a verdict.")  # fmt: skip
