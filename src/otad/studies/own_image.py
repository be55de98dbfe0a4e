"""What page 17 does with files: it writes pictures in every form that one may bring, and asks for the map of each.

Nothing here is stored: every number is computed when the page is.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor


def write(folder: Path, image: Tensor, name: str, mode: str = "RGB", **options: Any) -> Path:
    """Write an image (3,H,W) in [0,1] as an 8-bit file of a mode of Pillow's, or, "I;16", as 16-bit grey; return where it lies."""
    path = folder / name
    values = image.permute(1, 2, 0).numpy()
    if mode == "I;16":
        Image.fromarray((values.mean(-1) * 65535).astype(np.uint16)).save(path)
    else:
        Image.fromarray((values * 255).round().astype(np.uint8)).convert(mode).save(path, **options)
    return path


def tried(judge: Callable[[Path], tuple[Any, Any]], files: Mapping[str, Path]) -> pd.DataFrame:
    """Ask for the map of each file; return a row a file: the sizes of picture and map, whether all is finite, the seconds it took.

    judge: a file → its image (3,H,W) and its map (H,W).
    """
    rows = []
    for name, path in files.items():
        start = time.perf_counter()
        image, found = judge(path)
        sizes = {"picture": "×".join(map(str, image.shape[1:])), "map": "×".join(map(str, found.shape))}
        finite = {"finite": bool(np.isfinite(found).all()), "seconds": time.perf_counter() - start}
        rows.append({"file": name} | sizes | finite)
    return pd.DataFrame(rows)
