# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # FCA: your own image
#
# One texture picture in, one anomaly map out; nothing is trained and nothing leaves the machine.
#
# The method is FCA, *High-Fidelity Zero-Shot Texture Anomaly Localization Using Feature Correspondence Analysis*, Sections 3.2
# to 3.4, with the features of [Data and features](03_data_and_features.ipynb). No claim is tested here.
#
# **On your machine** put the path of a file into `image_path` and run the page. **On Colab** leave it empty: a button asks for a
# file. Leave it empty anywhere else, and the page brings a picture of its own: leather, with a hole in it.

# %% tags=["parameters"]
scale = "laptop"  # "smoke", "laptop" or "paper"
seed = 0
image_path = ""  # a PNG, JPEG, BMP or TIFF file
bits = None  # of a camera's values in a file of 16 bits, such as 12
page = None  # of a file that holds several, counted from 0

# %% tags=["hide-input"]
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from otad import ledger, methods, plotting
from otad.data.drawn import defects, textures
from otad.data import resize
from otad.data.readers.files import read_image
from otad.features.pretrained import efficientnet_lite0
from otad.methods.matching.fca import FCA
from otad.methods.memory.patchcore import PatchCore
from otad.scale import device, pick
from otad.studies import own_image

folder = tempfile.TemporaryDirectory()
save = partial(own_image.write, Path(folder.name))

# %% [markdown]
# ## Which picture
#
# The page's own picture is written to a file first, so that it takes the same road as yours.

# %%
mask = None
if image_path:
    path = Path(image_path)
elif "google.colab" in sys.modules:
    from google.colab import files

    path = Path(next(iter(files.upload())))
else:
    own = textures.render("leather", pick(scale, smoke=96, laptop=256), seed)
    own, mask = defects.plant(own, "hole", seed)
    path = save(own, "leather.png")

# %% [markdown]
# ## The map
#
# Three decisions stand between a file and its map. A picture with a side above `longest` pixels is made smaller, because the time
# grows with its area; one with a side below `shortest` is made larger, or no patch would fit. A patch has 9 feature pixels a
# side, the paper's choice; on a small map it shrinks to what fits. And the map comes back at the size of *your* file, upright
# as its EXIF orientation says. Only a scan of more than 8192 × 8192 pixels is read at a whole part of its sides, and a warning says so.

# %%
longest, shortest = pick(scale, smoke=128, laptop=512, paper=1024), 64
backbone = efficientnet_lite0(stages=(4,), device=device())


def anomaly_map(path, **how):
    """Read a file and return it, (3,H,W), with its map, (H,W)."""
    image = read_image(path, **how)
    height, width = image.shape[1:]
    factor = min(1.0, longest / max(height, width))
    size = [max(shortest, round(side * factor)) for side in (height, width)]
    features = (-(-side // 4) for side in size)
    patch = min(9, (min(features) // 2) | 1)
    method = FCA(backbone, patch_size=patch)
    scores = method.score(resize(image[None], size).to(device()))
    return image, resize_map(scores.maps.cpu(), (height, width))


def resize_map(maps, size):
    """Bring a map back to the size of the file, (1,h,w) to (H,W)."""
    drawn = Image.fromarray(maps[0].numpy())
    return np.asarray(drawn.resize(size[::-1], Image.Resampling.BILINEAR))


image, scores = anomaly_map(path, bits=bits, page=page)

# %% [markdown]
# Left the picture, in the middle its map, right both: the map as a veil, and a line round the strangest hundredth of all pixels.
# FCA always finds something strangest. Whether it is a defect is for you to say; look whether the line encloses one place, or
# many small ones all over.

# %% tags=["hide-input"]
plotting.overlay(image, scores, shows=["fca Figure 1"])

# %% [markdown]
# For the page's own picture we know where the hole is, so one number can be checked: the share of those strangest pixels that lie
# in the hole, beside the share that a blind guess would get.

# %% tags=["remove-input"]
if mask is not None:
    strangest = scores >= np.quantile(scores, 0.99)
    ledger.record(
        "p17_share_in_hole", float(mask.numpy()[strangest].mean()), tolerance=0.05
    )
    ledger.record("p17_share_by_chance", float(mask.float().mean()))
    ledger.say(
        "{p17_share_in_hole:.0%} of the strangest pixels lie in the hole, which covers {p17_share_by_chance:.1%} of the picture."
    )

# %% [markdown]
# ## Any file
#
# Files are not all eight-bit colour squares. Below, the same picture as grey, with an alpha channel, as a palette, as 16-bit grey,
# as a long strip, very large and very small, and as a phone writes it: lying on its side, with a note which way is up. Look at the
# columns *picture* and *map*: what comes back has the size of what went in.

# %%
base = textures.render("carpet", pick(scale, smoke=64, laptop=200), seed)
base, _ = defects.plant(base, "colour", seed)
big = pick(scale, smoke=300, laptop=3000)
lying = Image.Exif()
lying[274] = 6  # the orientation: to be turned a quarter to the right
cases = {
    "8-bit colour": save(base, "colour.png"),
    "grey": save(base, "grey.png", "L"),
    "with alpha": save(base, "alpha.png", "RGBA"),
    "palette": save(base, "palette.png", "P"),
    "16-bit grey": save(base, "deep.png", "I;16"),
    "strip": save(resize(base[None], (40, 700))[0], "strip.png"),
    "huge": save(resize(base[None], (big, big * 3 // 4))[0], "huge.jpg"),
    "tiny": save(resize(base[None], (12, 17))[0], "tiny.png"),
    "a phone's": save(resize(base[None], (90, 120))[0], "phone.jpg", exif=lying),
}

# %% tags=["timing"]
found = own_image.tried(anomaly_map, cases)
same = found["picture"] == found["map"]
ledger.record("p17_sizes_come_back", bool((same & found["finite"]).all()))
caption, spec = "One call for every kind of file", {"seconds": "{:.2f}"}
plotting.table(found, caption, formats=spec, timing=True)

# %% [markdown]
# A file that cannot be read, or only by a guess, is named in the error, with what to do about it. The last one holds twelve bits in
# sixteen, as industrial cameras write them: the parameter `bits` settles it.

# %%
broken = Path(folder.name) / "broken.png"
broken.write_bytes(b"not a picture")
phone = Path(folder.name) / "phone.heic"
phone.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
camera = save(base / 16, "camera.png", "I;16")
for path in (broken, phone, Path(folder.name) / "missing.png", camera):
    try:
        anomaly_map(path)
    except ValueError as error:
        print(str(error).replace(folder.name, "…"))
brightest = float(anomaly_map(camera, bits=12)[0].max())
print(f"with bits=12 the brightest value is {brightest:.2f}")

# %% [markdown]
# ## Fit once, score for weeks
#
# FCA learns nothing, so every picture starts afresh. A method that learns, such as PatchCore, is fitted once, on pictures of normal
# material, and then scores what comes for weeks, on whichever machine. `save` keeps what it learnt in one file, as tensors and JSON:
# opening a file runs no code. The backbone stays outside; the file remembers which one it was, by the hash of its weights, and
# `load` refuses another. Scores come back the same to the bit.

# %%
normal, new = (textures.render("leather", 96, s)[None].to(device()) for s in (1, 2))
detector = PatchCore(backbone).fit(normal)
methods.save(detector, Path(folder.name) / "leather.safetensors")
again = methods.load(Path(folder.name) / "leather.safetensors", backbone, device())

# %% tags=["hide-input"]
assert torch.equal(again.score(new).maps, detector.score(new).maps)

# %% [markdown]
# ## What it costs
#
# The table above is the bill: time grows with the number of pixels after resizing, not with the file. What the page took in all, and
# its memory, is on the *Status* page.

# %% [markdown]
# ## What we found

# %% tags=["remove-input"]
if mask is not None:
    ledger.say(
        "Does it work on one picture, without training? In this page's own picture, leather with a hole, {p17_share_in_hole:.0%} of the strangest 1 % of pixels lie in the hole, where {p17_share_by_chance:.1%} of all pixels are.",
        short=True,
    )

# %% [markdown]
# ## Exercise
#
# Why must this page not be used on a picture of a *thing*? Try a screw, or a face.
#
# :::{dropdown} Solution
# FCA's only idea of normal is *what most patches of this picture hold*. On a texture that is the material. On a thing it is the
# background, or whatever part of the thing is largest, and the map lights up where the thing is most itself.
# :::
