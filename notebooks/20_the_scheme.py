# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The benchmark: one scheme for sixteen methods
#
# Say what you see, sum up what is normal, measure how far the new is from it; or give the picture back and look at the difference. Two sketches of
# the benchmark are meant to hold all its methods. Here they are built of real parts, which are then exchanged.
#
# *Benchmarking Unsupervised Anomaly Detection and Localization*, Section 2 with Figures 2 and 3. The figures are sketches in print; ours send one drawn picture through working
# methods and show all that happens on the way. No claim is judged here, and no printed value reproduced: the claims about the two schools rest on Tables 1 and 2.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0

# %% tags=["hide-input"]
import time

import pandas as pd
import torch

from otad import ledger, methods, plotting
from otad.features.pretrained import efficientnet_lite0
from otad.methods import PaDiM, ReverseDistillation
from otad.plotting.pipeline import pipeline
from otad.scale import device, pick
from otad.studies import scheme
from otad.studies.arenas import packaged
from otad.studies.sight import pca_rgb, stages

# %% [markdown]
# ## One picture
#
# A drawn transistor on its board, with a fault. All that follows has seen the same normal pictures and is asked about this one. It is picked by rule: of the defective pictures, the one
# whose fault has the median size.

# %%
side, n_train, n_each = pick(scale, smoke=(64, 6, 1), laptop=(128, 40, 3))
data = packaged("transistor", side, n_train, 4, n_each, seed + 100)
train, test = data.train.to(device()), data.test.to(device())
areas, bad = data.masks.sum((1, 2)), data.labels.nonzero().flatten()
k = int(bad[areas[bad].argsort()[len(bad) // 2]])
picture, mask = test[k : k + 1], data.masks[k]

# %% [markdown]
# ## Representation: extractor, estimator, distance (Figure 3)
#
# Here is PaDiM, because each of its three parts can be seen. The **extractor** is a frozen network; of its maps we show the three main directions as red, green and blue, so that like things have like
# colours. The **estimator** learns a Gaussian at every place. Its mean is a map of features again; how wide it is, the logarithm of its determinant says. The **distance** is Mahalanobis'. Look at the
# row of the mean: there is no fault in it, so the distance in the last row has something to measure.

# %%
net = efficientnet_lite0((4, 8, 16), device=device())
padim = PaDiM(net, dimension=60, epsilon=1.0)
started = time.perf_counter()
padim.fit(train)
seconds = {"PaDiM": time.perf_counter() - started}
own = PaDiM(net, dimension=60, epsilon=1.0).fit(picture).mean_  # of one picture
as_map = lambda vectors: vectors.T.reshape(-1, side // 4, side // 4)  # noqa: E731
features, mean = scheme.same_colours(as_map(own), as_map(padim.mean_))
width = 2 * padim.factor_.diagonal(dim1=1, dim2=2).log().sum(1)
distance = padim.distances(picture)[0]
final = padim.score(picture).maps[0]
inside, outside = final[mask].mean(), final[~mask].mean()
ledger.record("p20_padim", float(inside / outside), tolerance=0.1)

# %% tags=["hide-input"]
strides = {f"features, stride {4 * 2**i}": pca_rgb(m[0]) for i, m in enumerate(stages(net, picture))}  # fmt: skip
pipeline(
    {
        "extractor": {"input": picture[0]} | strides,
        "estimator": {
            "60 channels\nof all three": features,
            "mean of\nnormal pictures": mean,
            "log det of\nthe covariance": as_map(width[:, None])[0],
        },
        "distance": {"Mahalanobis": distance, "resized, smoothed": final, "the fault": mask},
    },
    alt=f"Three rows of pictures with arrows. A drawn transistor with a fault ({data.kinds[k]}) becomes three maps of features in false colours, ever coarser; next to its features the mean "
    "of normal pictures, which shows a whole transistor, and a map of how wide each Gaussian is; the last row is the distance, the smoothed map, and the true mask.",
    shows=["benchmark Figure 3"],
    loose=["the fault"],
)  # fmt: skip

# %% tags=["remove-input"]
ledger.say("In the fault the map is {p20_padim:.1f} times as high as elsewhere.")

# %% [markdown]
# ## Other estimators in the same place
#
# The paper lists four: the centre of the normal vectors, a Gaussian, all vectors with their nearest neighbours, and a flow. The first three need no training. Each takes the features of stride 8 and brings the
# distance that belongs to it: Euclid's from the centre; Mahalanobis' from one Gaussian for all places, or from one for each; Euclid's to the nearest vector that any normal picture has anywhere. (Page 22 opens the flows.)

# %%
small = efficientnet_lite0((8, 16), device=device())
see = scheme.extractors(small)["network, stride 8"]
others = scheme.estimates(see, train, torch.cat([picture, test[:1]]))

# %% tags=["hide-input"]
resized = {n: torch.nn.functional.interpolate(m[:, None], (side, side))[:, 0].cpu() for n, m in others.items()}  # fmt: skip
shown, marks = data.test[[k, 0]], data.masks[[k, 0]]
plotting.show_maps(shown, marks, resized, titles=[data.kinds[k], data.kinds[0]])

# %% [markdown]
# ## Reconstruction: generator, difference (Figure 2)
#
# The other school asks a **generator** for the picture as it would be, were it normal. The simplest one is linear: a picture is the mean of the normal ones and a few numbers, its principal components. What they
# cannot say is lost on the way, and the **difference** to the input shows where. It shows as well everything else that few numbers cannot say: the holes of the board, the print.

# %%
numbers = pick(scale, smoke=3, laptop=12)
generator = scheme.LinearGenerator(numbers).fit(train)
code = generator.encode(picture)
rebuilt = generator.decode(code)
lost = scheme.difference(picture, rebuilt)[0]

# %% [markdown]
# Of the sixteen, R-D is in this school, and does it with features. A frozen network sees the picture; its maps are squeezed into a code; a student, trained on normal pictures, rebuilds them from it,
# deepest first. The difference is one minus a cosine, place by place, at each of the levels, added up. Both maps are shown with vectors of length 1, since a cosine sees no length, and in the same colours: where a colour
# differs, the student did not know better.

# %%
teacher = ReverseDistillation(net, width=16, epochs=pick(scale, smoke=1, laptop=12))
started = time.perf_counter()
teacher.fit(train)
seconds["R-D"] = time.perf_counter() - started
taught = net(picture)
with torch.no_grad():
    squeezed, learnt = teacher.student_(taught)
levels = list(zip(taught, learnt, strict=True))
unit = torch.nn.functional.normalize  # a cosine sees directions only
twins = [
    scheme.same_colours(unit(t, dim=1)[0], unit(s, dim=1)[0]) for t, s in levels
]
cosines = [1 - torch.cosine_similarity(t, s)[0] for t, s in levels]
told = teacher.score(picture).maps[0]
apart = {"R-D": told, "linear, colours": lost}
brightest = {n: bool(mask.flatten()[m.argmax()]) for n, m in apart.items()}
brightest = {n: "in" if hit else "outside" for n, hit in brightest.items()}
apart = {n: float(m[mask].mean() / m[~mask].mean()) for n, m in apart.items()}
ledger.record("p20_apart", apart, tolerance=0.3)
ledger.record("p20_brightest", brightest)

# %% tags=["hide-input"]
pipeline(
    {
        "pictures": {"input": picture[0], f"code: {numbers} numbers": code[0], "rebuilt": rebuilt[0].clamp(0, 1), "difference": lost},
        "R-D, stride 8": {"teacher": twins[1][0], "code": pca_rgb(squeezed[0]), "rebuilt": twins[1][1], "1 − cosine": cosines[1]},
        "R-D, stride 16": {"teacher": twins[2][0], "code": pca_rgb(squeezed[0]), "rebuilt": twins[2][1], "1 − cosine": cosines[2]},
        "R-D, the end": {"all levels": told, "the fault": mask},
    },
    alt=f"Rows of pictures with arrows. A drawn transistor ({data.kinds[k]}), the bars of a code, a blurred transistor rebuilt from them, and their difference, bright at edges everywhere. Below, "
    "for two levels: a map of features in false colours, a small code, the map rebuilt from it, and one minus their cosine. Last the final map beside the true mask.",
    shows=["benchmark Figure 2"],
    loose=["the fault"],
)  # fmt: skip

# %% tags=["remove-input"]
ledger.say(
    "In the fault R-D's map is {p20_apart[R-D]:.1f} times as high as elsewhere, the linear generator's {p20_apart[linear, colours]:.1f} times. The brightest place of R-D's map lies {p20_brightest[R-D]} the fault, that of the generator's {p20_brightest[linear, colours]} it."
)

# %% [markdown]
# ## Which part matters?
#
# If the parts of the scheme can be exchanged, they can be measured. Four extractors, from the plain colours of cells of eight pixels to a trained network, times four estimators, on a scene and on a texture, small. Nothing is tuned. Read down a column for what the extractor
# is worth, along a row for the estimator.

# %%
FIRST = 100 + seed  # no seed below was looked at while this page was written
seeds = range(FIRST, FIRST + pick(scale, smoke=2, laptop=5))
tiny, n_normal, n_of_each = pick(scale, smoke=(64, 4, 1), laptop=(96, 30, 2))
rows = pd.DataFrame(
    row
    for name in pick(scale, smoke=("transistor",), laptop=("transistor", "carpet"))
    for s in seeds
    for row in scheme.grid(
        small, packaged(name, tiny, n_normal, 8, n_of_each, s), s
    )
)
by_seed = rows.groupby(["extractor", "estimator", "seed"], sort=False)[
    "image"
].mean()
table = by_seed.groupby(level=[0, 1], sort=False).mean().unstack()

# %%
ways = {}
for part in ("extractor", "estimator"):
    levels = by_seed.groupby([part, "seed"]).mean().unstack("seed")
    order = levels.mean(axis=1).sort_values().index
    gain = (levels.loc[order[-1]] - levels.loc[order[0]]).tolist()
    told = ledger.span(f"p20_{part}", gain, tolerance=0.3)
    ways[part] = f"from *{order[0]}* to *{order[-1]}* by {told} points"
ledger.record("p20_grid", table.T.to_dict(), tolerance=0.1)
by_class = rows.pivot_table(index="class", columns="estimator", values="image")
ledger.record("p20_classes", by_class.T.to_dict(), tolerance=0.1)
kinds = "; ".join(f"{c} {{p20_classes[{c}][a Gaussian a place]:.0f}} and {{p20_classes[{c}][all vectors]:.0f}} %" for c in by_class.index)  # fmt: skip

# %% tags=["hide-input"]
spread = by_seed.groupby(level=[0, 1], sort=False).std().unstack()
cells = (
    table.map("{:.1f}".format) + " ± " + spread[table.columns].map("{:.1f}".format)
)
plotting.table(cells.rename_axis(index=None, columns=None), f"Image AUROC in %, mean ± sd over {len(seeds)} seeds, classes averaged")  # fmt: skip
ledger.say(
    f"Over the estimators, image AUROC rises {ways['extractor']} with the extractor; over the extractors, {ways['estimator']} with the estimator. "
    "(Best and worst are chosen by these means, which flatters both a little.) By class, a Gaussian a place and all vectors have: "
    + kinds
    + "."
)

# %% [markdown]
# ## The sixteen on the scheme
#
# Abstract and introduction say that thirteen papers are compared; the tables hold sixteen methods. The school is the one that the paper puts a method into. What stands in the places of the scheme is taken from each method's own paper. The last column is asked of this
# package when the page runs: where a method lives here, if it does.

# %%
SIXTEEN = """
Glance | glance | a net that sees the surroundings | the patch's own feature, from another net | their mismatch
DRAEM | draem | an autoencoder that repairs drawn defects | – | learnt: a second network, of picture and repair
DFR | dfr | frozen VGG19; autoencoder of each place's vector | – | squared error
R-D | rd4ad | frozen network; student that rebuilds its maps | – | 1 − cosine
PaDiM | padim | frozen network, three maps, channels at random | a Gaussian a place | Mahalanobis
P-SVDD | patch_svdd | own encoder, told where patches lie | all normal patches | nearest
FYD | fyd | aligned pictures, features made alike | one dense distribution | distance to it
SPADE | spade | frozen network | all normal features | nearest, of the K nearest pictures
PANDA | panda | network tuned on normal pictures | all normal features | k nearest
CutPaste | cutpaste | own network, told of pasted pieces | one Gaussian | −log density
NSA | nsa | own network, told of blended pieces | – | learnt: the network's own map
DifferNet | differnet | frozen AlexNet, pooled, three sizes | a flow on pictures | mean z²
CFlow | cflow | frozen network | a flow on vectors, told the place | density
FastFlow | fastflow | frozen network | a flow on maps | mean z²
CSFlow | csflow | frozen EfficientNet-B5, three sizes | a flow across sizes | mean z²
PatchCore | patchcore | frozen network, pooled patches | a coreset of normal patches | nearest
"""
OURS = {"R-D": "ReverseDistillation", "P-SVDD": "PatchSVDD"}  # named otherwise here

# %%
facts = pd.concat(
    ledger.numbers(paper="benchmark", table=f"Table {t}") for t in (1, 2)
)
families = facts["setting"].str.extract(r"family=(\w+)")[0]
school = families.groupby(facts["method"]).first()
ledger.record("p20_schools", school.value_counts().to_dict())
tables = facts.groupby("method")["table"].nunique()
ledger.record("p20_both", int((tables == 2).sum()))

# %% tags=["hide-input"]
board = scheme.board(SIXTEEN, school, methods.METHODS, OURS)
plotting.table(board, "The sixteen methods of Tables 1 and 2")

# %% tags=["remove-input"]
ledger.say(
    "{p20_schools[representation]} methods stand in the school of representation, {p20_schools[reconstruction]} in that of reconstruction. Only {p20_both} are in both tables; the mean of a school is taken over other methods in one table than in the other."
)

# %% [markdown]
# ## Paper against code, and where the scheme creaks
#
# Tables 1 and 2 are collected from the methods' papers, not run anew; so the scheme is an order of the literature, and each method brought its own code. What the table above shows beside that:
#
# - **Two schools, one idea in each.** NSA is called a representation, DRAEM a reconstruction, and both learn from defects made on purpose what a defect looks like. Neither has a distribution or a distance: the last place is a network.
# - **Reconstruction of what?** The text speaks of an image generator and of images that are rebuilt. DFR and R-D rebuild *features* of a frozen network, so that they have an extractor as well.
# - **An estimator is not a method.** PaDiM and a Gaussian for all places differ in one line, and P-SVDD, SPADE, PANDA and PatchCore share an estimator and differ in all else.
#
# Whatever holds for a school here holds for what its members have in common, which may not be the reason why they are in it. That is worth keeping in mind when the schools are compared by their means.
#
# ## What it costs

# %% tags=["timing", "hide-input"]
ledger.record("p20_seconds", seconds, timing=True, bounds=(0, 300))
kept = {"PaDiM": padim.factor_.numel() + padim.mean_.numel(), "R-D": sum(w.numel() for w in teacher.student_.parameters())}  # fmt: skip
costs = {n: {"seconds to fit": f"{seconds[n]:.1f}", "numbers kept": f"{kept[n]:,}"} for n in kept}  # fmt: skip
plotting.table(pd.DataFrame(costs).T, f"{n_train} normal pictures of {side} pixels", timing=True)  # fmt: skip

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
ledger.say(
    "Do the two sketches hold sixteen methods? Nearly: two of them have neither distribution nor distance. And both parts that one can exchange count: on a drawn scene and a texture the best extractor is worth "
    "{p20_extractor[mean]:.0f} points of image AUROC over the worst, the best estimator {p20_estimator[mean]:.0f}.",
    short=True,
)

# %% [markdown]
# - Every intermediate thing of a method of either school can be looked at, and says what the map alone does not: whether the fault was seen, whether it was missing in the estimate, whether it was measured.
# - A generator of pictures pays for everything that it cannot draw, edges above all, and one number, how bright the fault is on average, does not tell: look where the map is brightest.
#
# ## Exercise
#
# Take the linear generator. Show that its difference, summed over the picture, is a *distance*, from an *estimate* that could stand in Figure 3. Which extractor is it then, and what does Pythagoras say of
# $\lVert x - \hat x \rVert^2$?

# %% [markdown]
# ### Solution
#
# The extractor does nothing: $f(x) = x$. The estimate is a plane, the mean and the principal directions, and the difference is the squared Euclidean distance to it. The code holds the rest:
# $\lVert x - \hat x\rVert^2 = \lVert x - \mu\rVert^2 - \lVert \text{code}\rVert^2$. So the simplest reconstruction *is* a representation, with a flat estimate.

# %% tags=["hide-input"]
left = 3 * lost.double().sum()
right = (picture.flatten() - generator.mean_).double().square().sum() - code.double().square().sum()  # fmt: skip
ledger.record("p20_pythagoras", float((left / right - 1).abs()), below=1e-3)
ledger.say("On this picture the two sides differ by {p20_pythagoras:.0e} of themselves.")  # fmt: skip
