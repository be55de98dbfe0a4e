"""Picture files: everything between a path and a tensor, whichever phone, camera or scanner wrote the file.

Every reader opens its pictures here. A picture comes upright, as its EXIF orientation says; grey is repeated,
alpha dropped; 16-bit grey is scaled by the bits it declares. What would have to be guessed (12-bit values in a file
of 16 bits, the page of a file that has several) is refused by name, and an argument settles it.

Memory: a picture takes its bytes in the file's own type, at most 8 a pixel while it is turned and resized, and 12 a
pixel as a tensor. One of more than LARGE pixels therefore becomes smaller before it becomes a tensor: at most
8 · HUGE bytes for the largest scan that is read, and not 20.
"""

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from otad.data import resize

Size = tuple[int, int]  # (height, width)
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LEFTOVERS = ("__MACOSX", "@eaDir")  # of archives and network drives; hidden ones begin with a dot
LARGE = 2**26  # pixels, 8192²: 0.8 GB as a tensor
HUGE = 2**29  # pixels: 1.6 GB as bytes of colour
# How a file begins (and where) that people take for a picture, what it is, and what helps.
FOREIGN = (
    (4, b"ftyphe", "a HEIC picture, as phones take", "export it as JPEG or PNG"),
    (4, b"ftypm", "a HEIC picture or a video", "export the picture as JPEG or PNG"),
    (4, b"ftyp", "an AVIF picture or a video", "export the picture as JPEG or PNG"),
    (0, b"%PDF", "a PDF", "export the page as PNG"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the picture", "run git lfs pull"),
    (0, b"<", "text in angle brackets, such as SVG or the error page of a download", "download it again"),
)
ORIENTATION, BITS, SUBFILE = (
    274,
    258,
    254,
)  # tags of EXIF and TIFF: how a picture lies, bits of a sample, copy of another
_lock = threading.RLock()


# Paths ----------------------------------------------------------------------------------------------------


def local(path: str | Path) -> Path:
    """Return the path that is meant, `~` being the home folder; ValueError for what is no path."""
    if not isinstance(path, str | Path):
        raise ValueError(f"{path!r} is no path: give a string or a pathlib.Path.")
    try:
        path = Path(path).expanduser()
        path.exists()
    except (RuntimeError, OSError, ValueError) as error:  # no such home; longer than names may be
        raise ValueError(f"{str(path)[:200]} is no path on this machine: {error}.") from error
    return path


def visible(folder: Path) -> list[Path]:
    """List what people put into a folder, by name, and not what programs leave there: hidden files, `__MACOSX`."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in LEFTOVERS)
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed: {error.strerror}; check its permissions.") from error


def image_files(folder: Path) -> list[Path]:
    """Image files of one folder by name; ValueError if the folder is missing or has none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; the layout needs it.")
    found = [path for path in visible(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"{folder} has no images; expected files ending in {', '.join(SUFFIXES)}.")
    return found


# Images ---------------------------------------------------------------------------------------------------


def read_image(
    path: str | Path, size: Size | None = None, bits: int | None = None, page: int | None = None
) -> Tensor:
    """Read one picture: (3,H,W) float32 in [0,1], upright.

    size : (height, width), by antialiased bilinear interpolation; None keeps the picture's own, or, beyond LARGE
           pixels, a whole part of it, and a warning says so.
    bits : of the values in a file of 16 bits, such as 12; None takes those that the file declares, and refuses
           values that leave the two highest of them unused: as likely a camera's 12 bits as a dark picture.
    page : of a file that holds several, from 0; None refuses such a file.

    Raises ValueError, naming the file, for what is missing, no picture, damaged or larger than HUGE pixels, for
    values outside the range of their type, and for what bits and page do not fit.
    """
    return read_sized(local(path), size, bits, page)[0]


def read_sized(
    path: Path, size: Size | None = None, bits: int | None = None, page: int | None = None
) -> tuple[Tensor, Size]:
    """Read a picture as `read_image` does; also return the (height, width) that it has in its file, upright."""
    if bits is not None and not 1 <= bits <= 32:
        raise ValueError(f"bits is {bits}: expected 1 to 32, those of a camera's values, or None.")
    with opened(path, page, size) as picture:
        original, depth = picture.info["original"], picture.info["depth"]
        goal = size or _affordable(original)
        if original[0] * original[1] > LARGE and goal != original:
            picture = _plain(picture).resize(goal[::-1], Image.Resampling.BILINEAR)
        values = np.array(_plain(picture))
    if size is None and goal != original:
        warnings.warn(
            f"{path} has {original[0]} × {original[1]} pixels and is read at {goal[0]} × {goal[1]}; "
            "give a size for another one.",
            stacklevel=3,
        )
    top, read = _top(values, depth, bits, path), torch.from_numpy(values)
    image = read.expand(3, -1, -1) if read.ndim == 2 else read.permute(2, 0, 1)
    image = image.contiguous().float().div_(top)
    return (image if size is None else resize(image[None], size)[0]), original


def stack(
    paths: Sequence[Path],
    size: Size | None,
    like: torch.Size | None = None,
    like_path: Path | None = None,
    bits: int | None = None,
    page: int | None = None,
) -> tuple[Tensor, list[Size]]:
    """Read files into (N,3,H,W); without a `size`, all must be of the size of the first, or of `like`.

    Also returns the (height, width) that each has in its file. Raises ValueError, naming the file and the one it
    differs from, and as `read_image`.
    """
    images: list[Tensor] = []
    originals: list[Size] = []
    for path in paths:
        image, original = read_sized(path, size, bits, page)
        like, like_path = (image.shape[1:], path) if like is None else (like, like_path)
        if image.shape[1:] != like:
            raise ValueError(
                f"{path} is {tuple(image.shape[1:])}, {like_path} is {tuple(like)}; "
                "give size= to bring all to one size."
            )
        images.append(image)
        originals.append(original)
    return torch.stack(images), originals


def save(image: Tensor, path: Path) -> None:
    """Write an image (3,H,W) or mask (1,H,W) in [0,1] as an 8-bit file, with the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values).save(path)


def _affordable(original: Size) -> Size:
    """The size itself, or the largest whole part of it that has no more than LARGE pixels."""
    part = ceil(sqrt(original[0] * original[1] / LARGE))
    return original if part <= 1 else (ceil(original[0] / part), ceil(original[1] / part))


def _plain(picture: Image.Image) -> Image.Image:
    """Convert to what has a meaning as numbers: one deep channel, grey or RGB."""
    if picture.mode in ("I", "F", "L", "RGB"):
        return picture
    picture.info.pop("transparency", None)  # of a palette; Pillow warns before it drops it
    if picture.mode.startswith("I;16"):
        return picture.convert("I")
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")


def _top(values: NDArray, depth: int, bits: int | None, path: Path) -> int:
    """Find the value that stands for 1; ValueError where that would be a guess, and for values outside 0 to it."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        top = 1
    elif values.dtype == np.uint8:
        top = 255
        if depth == 16 and 0 < high < 64 and bits != 16:
            raise ValueError(
                f"{path} has colour of 16 bits, of which the upper 8 are read, and they reach {high} of 255: save it "
                "as grey, or as colour of 8 bits; pass bits=16 if it is truly so dark."
            )
    else:
        top = 2 ** (bits or depth) - 1
        if bits is None and depth >= 16 and 0 < high < 2 ** (depth - 2):
            guess = next(b for b in (8, 10, 12, 14, 16, depth) if high < 2**b)
            raise ValueError(
                f"{path} reaches {high} of the {top} that its {depth} bits can hold: pass bits={guess} if that is what the "
                f"camera has, bits={depth} if the picture is truly so dark."
            )
    if not (low >= 0 and high <= top):  # NaN fails as well
        raise ValueError(
            f"{path} has values from {low:.6g} to {high:.6g}, outside the range of its type, 0 to {top}; save it as an "
            "8- or 16-bit PNG, or pass the bits it has."
        )
    return top


# Masks ----------------------------------------------------------------------------------------------------


def levels(path: Path) -> NDArray:
    """Read the values of a mask as they stand in its file: (H,W) or (H,W,3), upright."""
    with opened(path) as picture:
        return np.asarray(_plain(picture))


def fit_mask(mask: Tensor, path: Path, original: Size, size: Size, empty: bool = False) -> Tensor:
    """Check the mask (H,W) bool of an image that was read at `size` and has the size `original` in its file.

    Returns it resized as `resize_mask` does. Raises ValueError, naming the file, if it is not of its image's size
    and, unless `empty` is allowed, if it marks nothing: a defect would be lost.
    """
    came = mask.shape[0], mask.shape[1]
    if came != original:
        turned = ", when upright, as its EXIF orientation says" if came == original[::-1] else ""
        raise ValueError(f"{path} is {came}, its image is {original}{turned}; mask and image must agree.")
    if not empty and not bool(mask.any()):
        raise ValueError(
            f"{path} marks nothing, and its image is called defective; draw the defect, or move the image to the good ones."
        )
    return resize_mask(mask, size)


def resize_mask(mask: Tensor, size: Size) -> Tensor:
    """Resize a mask (H,W) bool by nearest neighbour; where nothing is left, mark the pixel that it covers most."""
    if mask.shape == size:
        return mask
    small = functional.interpolate(mask[None, None].byte(), size, mode="nearest-exact")[0, 0] > 0
    if not small.any() and mask.any():
        covered = functional.adaptive_avg_pool2d(mask[None, None].float(), size)
        small.view(-1)[int(covered.argmax())] = True
    return small


def tell_inverted(masks: Mapping[Path, Tensor]) -> None:
    """Warn, naming files, of masks that mark more than half of their image: perhaps black on white."""
    shares = {path: float(mask.float().mean()) for path, mask in masks.items()}
    large = [f"{path} ({share:.0%})" for path, share in shares.items() if share > 0.5]
    if large:
        more = f" and {len(large) - 3} more" if len(large) > 3 else ""
        warnings.warn(
            f"masks that mark more than half of their image: {', '.join(large[:3])}{more}; if they are inverted, swap "
            "black and white: defects are white.",
            stacklevel=3,
        )


# Files ----------------------------------------------------------------------------------------------------


class _Refused(ValueError):
    """What is said of a file on purpose, beside all that a decoder may trip over."""


@contextmanager
def opened(path: Path, page: int | None = None, goal: Size | None = None) -> Iterator[Image.Image]:
    """Open one picture file, decoded and upright; `info` gets its "original" size and the "depth" of its channels.

    goal : a size; a large JPEG may be decoded smaller, but not to less than twice that. Raises ValueError, naming
    the file and what is wrong with it.
    """
    _check_file(path)
    try:
        # From an open file: by its name, Pillow maps an uncompressed TIFF into memory and garbles one that lies.
        with path.open("rb") as file, _without_limit(), Image.open(file) as picture:
            _turn_to(picture, page, path)
            size, depth = (picture.height, picture.width), _depth(picture)
            if size[0] * size[1] > HUGE:
                raise _Refused(
                    f"{path} has {size[0]} × {size[1]} pixels: at most {HUGE / 1e6:.0f} million are read; cut it into parts."
                )
            if size[0] * size[1] > LARGE:
                enough = 2 * max(goal or _affordable(size))
                picture.draft(None, (enough, enough))
            picture.load()
            picture.info["original"] = size[::-1] if _upright(picture) else size
            picture.info["depth"] = depth
            yield picture
    except _Refused:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: it is {_foreign(path)}.") from error
    except MemoryError as error:
        raise ValueError(
            f"{path} cannot be read as an image: it does not fit into memory; cut it into parts."
        ) from error
    except Exception as error:  # decoders raise whatever a damaged file makes them trip over
        raise ValueError(
            f"{path} cannot be read as an image: it is damaged ({error}); copy it again."
        ) from error


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} cannot be read as an image: it is a folder; give one picture file.")
    if not path.exists():
        raise ValueError(f"{path} cannot be read as an image: it is missing; check the name and the folder.")
    if not path.is_file():
        raise ValueError(f"{path} cannot be read as an image: it is a device or a pipe; give a picture file.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read as an image: it may not be; change its permissions.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} cannot be read as an image: it is empty, 0 bytes; copy it again.")


def _foreign(path: Path) -> str:
    """Say what a file is that Pillow does not know."""
    with path.open("rb") as file:
        head = file.read(64)
    for at, mark, what, remedy in FOREIGN:
        if head[at:].startswith(mark):
            return f"{what}; {remedy}"
    return "in no format of pictures, or damaged where it begins; copy it again, or save it as PNG"


@contextmanager
def _without_limit() -> Iterator[None]:
    """Lift Pillow's limit on pixels, which warns into pages and refuses scans; HUGE is ours."""
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _turn_to(picture: Image.Image, page: int | None, path: Path) -> None:
    """Go to a page; ValueError for a page that is not there, and for None where there are several."""
    there = getattr(picture, "n_frames", 1)
    if page is None and _own_pages(picture, there) > 1:
        raise _Refused(
            f"{path} holds {there} pages: pass page=0 … page={there - 1} for one of them, or save them one a file."
        )
    if page is not None and not 0 <= page < there:
        raise _Refused(f"{path} has no page {page}: it holds {there}, counted from 0.")
    if page:
        picture.seek(page)


def _own_pages(picture: Any, there: int) -> int:
    """Count pages, without the small copies that lie beside a picture: a phone's preview, the levels of a scan."""
    if picture.format != "TIFF" or there == 1:
        return 1 if picture.format == "MPO" else there
    copies = 0
    for number in range(1, there):
        picture.seek(number)
        copies += picture.tag_v2.get(SUBFILE, 0) & 1
    picture.seek(0)
    return there - copies


def _depth(picture: Any) -> int:
    """Bits of a channel in the file, of which Pillow keeps 8 where it is deep colour."""
    if picture.format == "TIFF":
        return int(np.max(picture.tag_v2.get(BITS, 1)))
    return 16 if picture.mode.startswith("I") or ";16" in str(picture.tile) else 8


def _upright(picture: Image.Image) -> bool:
    """Turn a decoded picture as its EXIF orientation says; tell whether height and width have changed places."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged EXIF block has no orientation
        lying = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        ImageOps.exif_transpose(picture, in_place=True)
    return lying
