"""Where your own copies of the papers' data sets lie: one folder, in it one sub-folder a data set, by its name.

The folder is named once: `DATA=/path make book SCALE=paper`, the environment variable OTAD_DATA, or the parameter
`data_folder` of a page. Nothing of it is ever redistributed, and nothing ever stands in for what is missing.
"""

import os
from pathlib import Path

VARIABLE = "OTAD_DATA"
# Name of the sub-folder → what the reader expects in it; book/data.md has the same table.
_MVTEC = "CATEGORY/train/good/NAME.png, CATEGORY/test/TYPE/NAME.png, CATEGORY/ground_truth/TYPE/NAME_mask.png"
LAYOUTS = {
    "mvtec_ad": _MVTEC,
    "mvtec_loco": "CATEGORY/defects_config.json, CATEGORY/train/good/NAME.png, CATEGORY/validation/good/NAME.png, "
    "CATEGORY/test/GROUP_anomalies/NAME.png, CATEGORY/ground_truth/GROUP_anomalies/NAME/000.png",
    "mpdd": _MVTEC,
    "realiad": "realiad_1024/CATEGORY/, realiad_jsons_sv/CATEGORY.json",
    "dtd_synthetic": _MVTEC,
    "wft": _MVTEC,
    "aitex": "Defect_images/NUMBER_CODE_FABRIC.png, Mask_images/NUMBER_CODE_FABRIC_mask.png, "
    "NODefect_images/ROLL/NUMBER_000_FABRIC.png",
}
# Beside them, what a method paints on normal pictures: whose it is, and the same. Apart, because stored rows depend on `LAYOUTS`.
BANKS = {"dtd": ("the Describable Textures Dataset (for research only)", "images/CLASS/NAME.jpg")}
USAGE = (
    f'name the folder that holds it: `DATA=/path make book SCALE=paper`, {VARIABLE}=/path, or data_folder = "/path" '
    "in the cell of parameters."
)


def location(name: str, folder: str | Path = "") -> Path:
    """Return the folder of one data set, FOLDER/NAME.

    name : a key of `LAYOUTS`. folder : the one that holds the data sets; empty: what OTAD_DATA names.

    Raises ValueError for an unknown name, if no folder is named, and if the data set is not in it; the message has the
    missing path, what is expected there, and how to name another.
    """
    if name not in LAYOUTS:
        raise ValueError(f"unknown data set {name!r}; choose from {', '.join(LAYOUTS)}.")
    chosen = str(folder) or os.environ.get(VARIABLE, "")
    if not chosen:
        raise ValueError(
            f"no folder was named for {name}, which this page needs at scale 'paper' (expected in /path/{name}: "
            f"{LAYOUTS[name]}); {USAGE}"
        )
    place = Path(chosen).expanduser() / name
    if not place.is_dir():
        raise ValueError(f"{place} is missing; expected in it: {LAYOUTS[name]}; {USAGE}")
    return place


def bank(name: str, folder: str | Path = "") -> Path:
    """Return the folder of a bank of textures, a key of `BANKS`, beside the data sets; arguments and errors as those of `location`."""
    if name not in BANKS:
        raise ValueError(f"unknown bank of textures {name!r}; choose from {', '.join(BANKS)}.")
    chosen = str(folder) or os.environ.get(VARIABLE, "")
    place = Path(chosen).expanduser() / name
    if not chosen or not place.is_dir():
        told, layout = BANKS[name]
        lacks = f"{place} is missing" if chosen else f"no folder was named for {name}"
        raise ValueError(f"{lacks}, {told}; expected in it: {layout}; {USAGE}")
    return place


def use_location(folder: str | Path, *names: str) -> None:
    """Ask for the data sets and banks of textures that a page needs, and let OTAD_DATA name their folder from here on: studies look there.

    folder : a page's parameter `data_folder`; empty: what OTAD_DATA names already. Raises as `location` does.
    """
    for name in names:
        (bank if name in BANKS else location)(name, folder)
    if str(folder):
        os.environ[VARIABLE] = str(folder)
