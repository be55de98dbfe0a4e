# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scoreboard: every method on one arena
#
# *One line a method, on the same few pictures: who ranks them best, who learns first and who does not, and
# what a picture costs. A method of yours joins by one more line.*
#
# The pages of the papers compare methods as the papers do, with tuned settings and many pictures. This page is the opposite: small, quick
# and the same for everybody. It judges no paper. It is where a new method shows first that it runs, and roughly where it stands.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import math
import time

import pandas as pd

from otad import ledger, methods, plotting
from otad.features.pretrained import efficientnet_lite0
from otad.metrics import image_auroc, pixel_auroc
from otad.scale import device, pick
from otad.studies.arenas import packaged

# %% [markdown]
# ## The contestants
#
# A line a method: its name, and how to make it. Methods that look through a network look through the same one. Whatever is not said here
# is the method's own default; what is said keeps a trial below a second or two. `methods.NAME` finds every method of the package, so a
# new line is all that a new one needs.

# %%
network = efficientnet_lite0(stages=(8, 16), device=device())
epochs, n_candidates = pick(scale, smoke=(1, 100), laptop=(5, 400))

CONTESTANTS = {
    "FCA": lambda: methods.FCA(network, patch_size=3),
    "Aota": lambda: methods.Aota(network),
    "Weathering": lambda: methods.Weathering(n_candidates=n_candidates),
    "HistogramContrast": lambda: methods.HistogramContrast(),
    "RegionContrast": lambda: methods.RegionContrast(min_size=50),
    "PatchCore": lambda: methods.PatchCore(network),
    "SPADE": lambda: methods.SPADE(network),
    "FastRecon": lambda: methods.FastRecon(network),
    "PaDiM": lambda: methods.PaDiM(network),
    "PRADOT": lambda: methods.PRADOT(
        network, n=2, eta=0.8, epochs=epochs, batch_size=8, max_iter=30
    ),
    "GNL": lambda: methods.GNL(network, views=1, epochs=epochs, batch_size=4),
}

# %% [markdown]
# Some methods of the package are missing. TTAD adapts to pictures that look other than the training pictures did; here they look the
# same, and unadapted it is PatchCore with another memory; its arena is on page 33. FOCT learns anew for every picture that it meets, which
# takes a second each. The flows, FastFlow, CFlow, CSFlow and DifferNet, train for minutes before they say anything. So do the
# students of a teacher, Glance, KDAD, STPM and ReverseDistillation (GNL, which is the latter and more, stands for them), DFR's
# autoencoder and UniAD's transformer. RegAD must first have learnt on other categories. The weights of MAEDAY and
# of ViTAD's teacher come from no package registry.
# PANDA and FYD tune a network for minutes. CutPaste, NSA and DRAEM train one from nothing to find defects made on purpose,
# PatchSVDD one to tell where a patch lay.
#
# ## The arena
#
# Two drawn textures, one photograph of a texture, one drawn scene in which parts have their place. A seed draws all pictures anew, normal
# ones to learn from and both sorts to judge.

# %%
FIRST = 100 + seed  # no seed below was looked at while this page was written
n_seeds = pick(scale, smoke=2, laptop=5)
side = pick(scale, smoke=48, laptop=96)
n_train, n_good, n_each = pick(scale, smoke=(4, 2, 1), laptop=(12, 6, 1))
TEXTURES = pick(scale, smoke=("carpet",), laptop=("carpet", "wood"))
SCENES = ("transistor",)
CLASSES = (*TEXTURES, *pick(scale, smoke=(), laptop=("brick",)), *SCENES)


# %% [markdown]
# A trial is a class and a seed. Who has a method `fit` is shown the normal pictures first; who has none looks at each test picture alone.
# Times are all that passes on the clock, the network's share included.


# %%
def trial(name, seed, contestants):
    """Yield a row a method: image and pixel AUROC in percent, seconds to fit, milliseconds a picture."""
    data = packaged(name, side, n_train, n_good, n_each, seed)
    train, test = data.train.to(device()), data.test.to(device())
    for method, make in contestants.items():
        detector, begun, took = make(), time.perf_counter(), math.nan
        if hasattr(detector, "fit"):
            detector.fit(train)
            took = time.perf_counter() - begun
        begun = time.perf_counter()
        scores = detector.score(test)
        maps, tops = scores.maps.cpu(), scores.image_scores.cpu()
        yield {
            "method": method,
            "class": name,
            "seed": seed,
            "image": 100 * float(image_auroc(tops, data.labels)),
            "pixel": 100 * float(pixel_auroc(maps, data.masks)),
            "fit": took,
            "picture": 1000 * (time.perf_counter() - begun) / len(test),
        }


# %%
seeds = range(FIRST, FIRST + n_seeds)
rows = pd.DataFrame(
    row for name in CLASSES for s in seeds for row in trial(name, s, CONTESTANTS)
)

# %% [markdown]
# ## The board
#
# Classes are averaged within a seed; what is shown is the mean over seeds, and how much one seed differs from the next. Look at the spread
# before you look at the order: two methods closer than that have not been told apart.

# %%
by_seed = rows.groupby(["method", "seed"])[["image", "pixel"]].mean()
board = by_seed.groupby("method").mean().sort_values("image", ascending=False)
spread = by_seed.groupby("method").std()
by_class = rows.pivot_table(index="method", columns="class", values="image")
times = rows.groupby("method")[["fit", "picture"]].median().loc[board.index]
learns = times["fit"].notna()
for method, score in board.iterrows():
    # A processor may exchange a few pairs of pictures.
    ledger.record(f"p04_{method}", score.to_dict(), tolerance=0.1)
alone, taught = (board.index[learns == kind][0] for kind in (False, True))
best = {"alone": board["image"][alone], "taught": board["image"][taught]}
ledger.record("p04_best", best, tolerance=0.1)
fca = by_class.loc["FCA"]
ledger.record("p04_fca_textures", fca[list(TEXTURES)].mean(), tolerance=0.1)
ledger.record("p04_fca_scene", fca[list(SCENES)].mean(), tolerance=0.1)

# %% tags=["timing", "hide-input"]
shown = pd.DataFrame(
    {
        "normal pictures": learns.map({True: str(n_train), False: "none"}),
        "image AUROC": board["image"],
        "± sd": spread["image"],
        "pixel AUROC": board["pixel"],
        "± sd ": spread["pixel"],
        "seconds to fit": times["fit"],
        "ms a picture": times["picture"],
    }
).loc[board.index]
plotting.table(
    shown,
    caption=f"{len(board)} methods on {len(CLASSES)} classes, {n_seeds} seeds, pictures of {side} × {side} pixels; the best image AUROC first. "
    "Times are medians on the machine that built this page.",
    formats=dict.fromkeys(shown, "{:.1f}") | {"seconds to fit": "{:.2f}"},
    timing=True,
)

# %% [markdown]
# The mean hides where a method is good. In the picture below each class has its own mark; filled bars are methods that learn from normal
# pictures.

# %% tags=["hide-input"]
plotting.bars(
    board["image"],
    by_class.loc[board.index, list(CLASSES)],
    spread["image"][board.index],
    hollow=board.index[~learns],
    label="image AUROC in %, one standard deviation over seeds",
    levels={"guessing": 50},
    xlim=(0, 100),
)

# %% [markdown]
# ## A claim of our own
#
# Not only papers may claim something. The ledger keeps claims of whoever works on this book, in a section of their own, judged by the
# same rule; [Contributing](../book/contributing.md) says how to add one. This is the first, own-01. It was written down before one of its
# seeds was drawn: normal pictures should pay most where things have their place, since a single picture cannot tell what it lacks. So what
# PatchCore gains over FCA, which sees no normal picture, should be more on the scene than on the textures.
#
# Both look through the same network at the same pictures. Ten seeds: those of the board, and five more for these two alone.

# %%
n_judged = pick(scale, smoke=2, laptop=10)
pair = {name: CONTESTANTS[name] for name in ("FCA", "PatchCore")}
more = pd.DataFrame(
    row
    for name in (*TEXTURES, *SCENES)
    for s in range(FIRST + n_seeds, FIRST + n_judged)
    for row in trial(name, s, pair)
)
image = pd.concat([rows, more]).pivot_table(
    index=["class", "seed"], columns="method", values="image"
)
gain = (image["PatchCore"] - image["FCA"]).unstack("class")
on_scenes, on_textures = (gain[list(c)].mean(axis=1) for c in (SCENES, TEXTURES))

# %%
ledger.record("p04_gain_scene", on_scenes.mean(), tolerance=0.2)
ledger.record("p04_gain_textures", on_textures.mean(), tolerance=0.2)
ledger.verdict(
    "own-01",
    {"gain on the scene > gain on textures": on_scenes - on_textures},
    "a seed draws all pictures anew",
    "points",
    smallest_effect=5.0,
    effect_reason="less would hardly decide whether to collect normal pictures",
)

# %% tags=["remove-input"]
ledger.say(
    "PatchCore gains {p04_gain_scene:+.1f} points over FCA on the scene and {p04_gain_textures:+.1f} on the textures."
)

# %% [markdown]
# ## What this board cannot say
#
# Pictures are small and few, settings are quick and untuned, and a scene and three textures are no factory. A method that is good at 1024
# pixels, or after an hour of training, does not show it here: GNL trains a network, and gets a dozen or so steps for it.
# (In a first run it had batches of sixteen, so five steps, and guessed; its batches are smaller since. No other
# setting was changed after that run; methods joined.) The pages of the papers give each method its own sizes.
#
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    f"On {len(CLASSES)} small classes, textures and a scene, the best method that learns from {n_train} normal pictures ({taught}) ranks pictures "
    f"with an image AUROC of {{p04_best[taught]:.0f}} %, the best that sees none ({alone}) with {{p04_best[alone]:.0f}} %.",
    short=True,
)
ledger.say(
    "A mean over classes hides the most. FCA reaches {p04_fca_textures:.0f} % on the drawn textures and {p04_fca_scene:.0f} % on the scene, "
    "where guessing gives 50 %: it looks for what is rare in its own picture, and in a picture of one thing the thing itself is rare."
)

# %% [markdown]
# ## Your turn
#
# Add a line to `CONTESTANTS`: `"PatchCore, one picture in four": lambda: methods.PatchCore(network, coreset_ratio=0.25)`. Does a larger
# memory rank better, and what does it cost? Then write a method of your own: [Contributing](../book/contributing.md) has one of thirty lines.
