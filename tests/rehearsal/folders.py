"""Stand-ins for the papers' data sets: true layouts and true sizes of pictures, drawn by our own renderers, few of each.

A few pictures are drawn; the others are copies of them.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from otad.data import GOOD, Dataset
from otad.data.drawn import scenes, textures
from otad.data.drawn.defects import plant
from otad.data.readers import folders, loco, realiad
from otad.data.readers.files import save

GREY = ("grid",)  # of MVTec AD's classes here, those with one channel


@dataclass(frozen=True)
class Amount:
    """How much is drawn. train: normal pictures of a class; `batch` of those classes that fill a batch of PRADOT and the fifth that its
    code holds out. each: test pictures that are good, and of each sort of defect; five, since a test set is judged in five parts.
    shrink: pixels of the true sizes for one here; 1 = true sizes.
    """

    train: int = 4
    batch: int = 80
    each: int = 5
    shrink: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size at which a picture of a true size is written; a scene needs 48 pixels."""
        return max(height // self.shrink, 64), max(width // self.shrink, 64)


def write(root: Path, amount: Amount, at_once: int = 1) -> None:
    """Write all data sets and banks, so many side by side, into a folder, each under its name of `locations`; nothing that was written before.

    Raises ValueError where other amounts were written: pictures of both would lie side by side.
    """
    done, lacking = root / "written.json", list(WRITERS)
    if done.is_file():
        if json.loads(done.read_text()) != vars(amount):
            raise ValueError(
                f"{root} holds other amounts, {done.read_text()}: remove it, or give another folder."
            )
        lacking = [name for name in WRITERS if not (root / name).is_dir()]  # of an earlier list
        if not lacking:
            return
        done.unlink()

    def draw(name: str) -> None:
        WRITERS[name](root / name, amount)
        print(f"written: {name}", flush=True)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(draw, lacking))  # raises what one of them raised
    done.write_text(json.dumps(vars(amount)))


# Pictures -----------------------------------------------------------------------------------------


def copies(folder: Path, count: int) -> None:
    """Fill a folder of pictures up to `count` with copies of what it holds."""
    there = sorted(folder.iterdir())
    for number in range(len(there), count):
        shutil.copy(there[number % len(there)], folder / f"{number:03d}.png")


def grey(folder: Path) -> None:
    """Write all pictures of a folder again with one channel."""
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)


def textured(name: str, size: tuple[int, int], amount: Amount, kinds: Sequence[str]) -> Dataset:
    """Draw a texture: a few pictures to learn from, and test pictures, good ones and `each` of each kind."""
    data = textures.load(name, size, amount.train, 1, 1, kinds)
    return more(data, amount)


def more(data: Dataset, amount: Amount) -> Dataset:
    """Return a data set with `each` copies of every test picture."""
    index = [i for i in range(len(data.test)) for _ in range(amount.each)]
    lists = {
        key: [getattr(data, key)[i] for i in index]
        for key in ("kinds", "defects", "groups")
        if hasattr(data, key)
    }
    masks = None if data.masks is None else data.masks[index]
    return replace(data, test=data.test[index], masks=masks, labels=data.labels[index], **lists)


# Data sets ----------------------------------------------------------------------------------------

AD = dict.fromkeys((*textures.NAMES, "transistor"), (1024, 1024)) | {"tile": (840, 840)}
LOCO = {  # scene, height and width, a logical defect of which a part is enough to find, a structural one
    "breakfast_box": ("tray", (1280, 1600), "missing", "stain"),
    "juice_bottle": ("bottle", (1600, 800), "label_shifted", "crack"),
}
FABRICS = {  # for DTD-Synthetic and WFT, which texture stands for a class
    "dtd_synthetic": {"Blotchy_099": "carpet", "Mesh_114": "grid"},
    "wft": {"texture_1": "carpet", "texture_2": "grid"},
}
CLASSES: dict[str, tuple[str, ...]] = {
    "mpdd": ("connector", "metal_plate"),
    "mvtec_ad": tuple(AD),
    "mvtec_loco": tuple(LOCO),
    "realiad": ("audiojack",),
    **{name: tuple(drawn) for name, drawn in FABRICS.items()},
    "aitex": ("t_00", "t_01"),
}
FULL = ("carpet", "breakfast_box")  # the classes with `batch` pictures to learn from


def mvtec_ad(root: Path, amount: Amount) -> None:
    """Write textures and a transistor as MVTec AD, two kinds of defects each."""
    for name, true in AD.items():
        if name in textures.NAMES:
            data = textured(name, amount.size(*true), amount, ("cut", "colour"))
        else:
            plain = scenes.load(name, amount.size(*true), amount.train, 1, 1, ("misplaced", "cut_lead"))
            data = more(plain, amount)
        folders.write(data, root, name)
        copies(root / name / "train" / GOOD, amount.batch if name in FULL else amount.train)
        if name in GREY:
            grey(root / name)


def mvtec_loco(root: Path, amount: Amount) -> None:
    """Write two scenes as MVTec AD LOCO, with both sorts of rules: a share of the mask, and a number of pixels."""
    for name, (scene, true, logical, structural) in LOCO.items():
        size = amount.size(*true)
        data = scenes.load(scene, size, amount.train, 1, 1, (logical, structural), n_validation=1)
        enough = [a.saturation_area for found in data.defects for a in found if a.kind == logical]
        rules = [loco.Rule(logical, 255, float(min(enough)), False), loco.Rule(structural, 254, 1.0, True)]
        loco.write(more(data, amount), root, name, rules)
        copies(root / name / "train" / GOOD, amount.batch if name in FULL else amount.train)


def real_iad(root: Path, amount: Amount) -> None:
    """Write a scene as Real-IAD: pictures at 1024, and the JSON file of the split; the second of five views is black."""
    data = scenes.load("dish", amount.size(1024, 1024), amount.train, 1, 1, scenes.STRUCTURAL["dish"][:2])
    realiad.write(more(data, amount), root, *CLASSES["realiad"])


def dtd_synthetic(root: Path, amount: Amount) -> None:
    """Write two textures as DTD-Synthetic, masks without `_mask`, pictures of sizes of their own."""
    for side, (name, drawn) in zip((320, 288), FABRICS["dtd_synthetic"].items(), strict=True):
        folders.write(textured(drawn, amount.size(side, 384), amount, ("cut", "colour")), root, name)
        for mask in (root / name / "ground_truth").rglob("*_mask.png"):
            mask.rename(mask.with_name(mask.name.replace("_mask", "")))


def wft(root: Path, amount: Amount) -> None:
    """Write two grey textures as the woven fabric textures."""
    for name, drawn in FABRICS["wft"].items():
        folders.write(textured(drawn, amount.size(512, 512), amount, ("cut", "contamination")), root, name)
        grey(root / name)


def aitex(root: Path, amount: Amount) -> None:
    """Write two grey fabrics as Aitex: strips sixteen times as wide as high, some with a bare table, one with two masks."""
    height = max(256 // amount.shrink, 32)
    for fabric in range(2):
        strips = [textures.render("carpet", (height, 16 * height), [fabric, k]) for k in range(3)]
        strips[0][:, :, : 3 * height // 2] = 0.8  # a table has no threads
        code = f"{fabric:02d}"
        save(
            strips[0][:1], root / "NODefect_images" / f"2306881-21{fabric}u" / f"{fabric:04d}_000_{code}.png"
        )
        for k in (1, 2):
            stem = f"{10 * k + fabric:04d}_0{k}6_{code}"
            hurt, marks = planted(strips[k], height, n=k)
            save(hurt[:1], root / "Defect_images" / f"{stem}.png")
            for number, mask in enumerate(marks, 1):
                ending = "_mask" if k == 1 else f"_mask{number}"
                save(mask[None].float(), root / "Mask_images" / f"{stem}{ending}.png")


def planted(strip: Tensor, side: int, n: int) -> tuple[Tensor, list[Tensor]]:
    """Return a strip with a defect in each of its first n squares, and a mask each."""
    strip, marks = strip.clone(), []
    for k in range(n):
        here = slice((k + 1) * side, (k + 2) * side)
        strip[:, :, here], mask = plant(strip[:, :, here], "hole", k)
        marks.append(torch.zeros_like(strip[0]).bool())
        marks[-1][:, here] = mask
    return strip, marks


MPDD = {"connector": ("transistor", "cut_lead"), "metal_plate": ("dish", "scratch")}  # scene, a defect


def mpdd(root: Path, amount: Amount) -> None:
    """Write parts of metal as MPDD, which has MVTec AD's layout."""
    for name, (scene, kind) in MPDD.items():
        data = more(scenes.load(scene, amount.size(1024, 1024), amount.train, 1, 1, (kind,)), amount)
        folders.write(data, root, name)


BANK = {"banded": ("wood", (300, 300)), "meshed": ("grid", (480, 640)), "porous": ("leather", (640, 475))}


def dtd(root: Path, amount: Amount) -> None:
    """Write three classes of textures as DTD: JPEGs, each class of a size of its own."""
    for name, (drawn, true) in BANK.items():
        for number in range(1, amount.train + 1):
            picture = textures.render(drawn, amount.size(*true), [9, number])
            save(picture, root / "images" / name / f"{name}_{number:04d}.jpg")


WRITERS: dict[str, Callable[[Path, Amount], None]] = {
    "mvtec_ad": mvtec_ad,
    "mvtec_loco": mvtec_loco,
    "mpdd": mpdd,
    "realiad": real_iad,
    "dtd_synthetic": dtd_synthetic,
    "wft": wft,
    "aitex": aitex,
    "dtd": dtd,
}
