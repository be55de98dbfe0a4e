"""Picture files: everything between a path and a tensor, whichever phone, camera or scanner wrote the file.

Every reader opens its pictures here. A picture comes upright, as its EXIF orientation says; grey is repeated,
alpha dropped; 16-bit grey is scaled by the bits it declares. What would have to be guessed (12-bit values in a file
of 16 bits, the page of a file that has several) is refused by name, and an argument settles it.

Memory: at most 8 bytes a pixel while a picture is decoded, turned and resized, and 12 a pixel of the tensor. One of
more than LARGE pixels is made smaller before it becomes a tensor, so that a scan of HUGE pixels takes 8 · HUGE bytes.
"""

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from otad.checks import check_room, checked, shown
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
# Tags of EXIF and TIFF: which way is up, bits of a sample, whether a page is a small copy of another.
ORIENTATION, BITS, SUBFILE = 274, 258, 254
_lock = threading.RLock()


# Paths ----------------------------------------------------------------------------------------------------


def local(path: str | Path) -> Path:
    """Return the path that is meant, `~` being the home folder; ValueError for what is no path."""
    if not isinstance(path, str | Path):
        raise ValueError(f"{path!r} is no path: give a string or a pathlib.Path.")
    try:
        meant = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # it may be written yet
            os.stat(meant)
    except (RuntimeError, OSError, ValueError) as error:  # no such home; longer than names may be
        raise ValueError(f"{str(path)[:200]!r} is no path on this machine: {error}.") from error
    return meant


def inside(folder: Path, name: str) -> Path:
    """Return what is called `name` in a folder; ValueError for a name that nothing in a folder can have."""
    if name in ("", ".", "..") or set(name) & set("/\\\0") or len(name.encode(errors="replace")) > 255:
        raise ValueError(f"{name[:60]!r} is no name of a file or folder.")
    return folder / name


def visible(folder: Path) -> list[Path]:
    """List what people put into a folder, by name, and not what programs leave there: hidden files, `__MACOSX`."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in LEFTOVERS)
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed: {error.strerror}; check its permissions.") from error


def image_files(folder: str | Path) -> list[Path]:
    """Image files of one folder by name; ValueError if the folder is missing or has none."""
    folder = local(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; the layout needs it.")
    found = [path for path in visible(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"{folder} has no images; expected files ending in {', '.join(SUFFIXES)}.")
    return found


# Images ---------------------------------------------------------------------------------------------------


@checked
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
    picture, original, depth = opened(path, page, size)
    picture = _plain(picture)  # by the same name: of a large one there must not be two
    top = _top(picture, depth, bits, path)
    goal = size or _affordable(original)
    if original[0] * original[1] > LARGE and goal != original:
        picture = picture.resize(goal[::-1], Image.Resampling.BILINEAR)
    if size is None and goal != original:
        warnings.warn(
            f"{path} has {original[0]} × {original[1]} pixels and is read at {goal[0]} × {goal[1]}; "
            "give a size for another one.",
            stacklevel=3,
        )
    read = torch.from_numpy(np.array(picture))
    if picture.mode == "F" and not bool(read.isfinite().all()):
        raise ValueError(f"{path} has values that are NaN; save it as an 8- or 16-bit PNG.")
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
    """Read files, one or more, into (N,3,H,W); without a `size`, all must be of the size of the first, or of `like`.

    Also returns the (height, width) that each has in its file. Raises ValueError, naming the file and the one it
    differs from, and as `read_image`.
    """
    images = torch.empty(0)
    originals: list[Size] = []
    for index, path in enumerate(paths):
        image, original = read_sized(path, size, bits, page)
        like, like_path = (image.shape[1:], path) if like is None else (like, like_path)
        if image.shape[1:] != like:
            raise ValueError(
                f"{path} is {tuple(image.shape[1:])}, {like_path} is {tuple(like)}; "
                "give size= to bring all to one size."
            )
        if not index:  # now the size is known: each goes into its place, so that none is there twice
            images = image.new_empty(len(paths), *image.shape)
        images[index] = image
        originals.append(original)
    return images, originals


@checked
def save(image: Tensor, path: str | Path) -> None:
    """Write an image (3,H,W) or mask (1,H,W) in [0,1] as an 8-bit file, with the folders it needs.

    Raises ValueError for anything else, a suffix that is none of SUFFIXES, and where nothing can be written.
    """
    path = local(path)
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.numel():
        raise ValueError(f"image is {shown(image)}: expected (3,H,W), or (1,H,W) for a mask.")
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise ValueError("image has values outside [0,1]; divide bytes by 255.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} ends in none of {', '.join(SUFFIXES)}.")
    values = (image.detach() * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.squeeze(-1) if values.shape[-1] == 1 else values).save(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}; choose another folder.") from error


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


def _top(picture: Image.Image, depth: int, bits: int | None, path: Path) -> int:
    """Find the value that stands for 1; ValueError where that would be a guess, and for values outside 0 to it."""
    extremes = np.array(picture.getextrema())  # of each band
    low, high = extremes.min(), extremes.max()
    if picture.mode == "F":
        top = 1
    elif picture.mode != "I":
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
    if not (low >= 0 and high <= top):
        raise ValueError(
            f"{path} has values from {low:.6g} to {high:.6g}, outside the range of its type, 0 to {top}; save it as an "
            "8- or 16-bit PNG, or pass the bits it has."
        )
    return top


# Masks ----------------------------------------------------------------------------------------------------


def levels(path: Path) -> NDArray:
    """Read the values of a mask as they stand in its file: (H,W) or (H,W,3), upright."""
    return np.asarray(_plain(opened(path)[0]))


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
            f"{path} marks nothing, and its image is called defective; draw the defect, move the image to the good ones, "
            "or pass empty_masks=True where the reader takes it."
        )
    return resize_mask(mask, size)


@checked
def resize_mask(mask: Tensor, size: Size) -> Tensor:
    """Resize a mask (H,W) bool by nearest neighbour; where nothing is left, mark the pixel that it covers most."""
    if mask.ndim != 2 or mask.dtype != torch.bool or not mask.numel() or min(size) < 1:
        raise ValueError(
            f"mask is {shown(mask)}, size is {size}: expected bool (H,W), and sides of 1 or more."
        )
    check_room("the resized mask", *size)
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


def opened(path: Path, page: int | None = None, goal: Size | None = None) -> tuple[Image.Image, Size, int]:
    """Decode one picture file, upright; also return its (height, width) in the file and the bits of its channels.

    goal : a size; a large JPEG may be decoded smaller, but not to less than twice that. Raises ValueError, naming
    the file and what is wrong with it.
    """
    _check_file(path)
    # From an open file: by its name, Pillow maps an uncompressed TIFF into memory and garbles one that lies.
    with path.open("rb") as file, _without_limit():
        with _explained(path):
            picture = Image.open(file)
            there, own = getattr(picture, "n_frames", 1), _own_pages(picture)
        _check_page(page, there, own, path)
        with _explained(path):
            picture.seek(page or 0)
            size, depth = (picture.height, picture.width), _depth(picture)
        if size[0] * size[1] > HUGE:
            raise ValueError(
                f"{path} has {size[0]} × {size[1]} pixels: at most {HUGE / 1e6:.0f} million are read; cut it into parts."
            )
        with _explained(path):
            if size[0] * size[1] > LARGE:
                enough = 2 * max(goal or _affordable(size))
                picture.draft(None, (enough, enough))
            picture.load()
            lying = _turn_upright(picture)
    return picture, size[::-1] if lying else size, depth


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of a file what is wrong with it, whatever a decoder trips over."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} cannot be read as an image: it is {_foreign(path)}.") from error
    except MemoryError as error:
        raise ValueError(
            f"{path} cannot be read as an image: it does not fit into memory; cut it."
        ) from error
    except Exception as error:
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


def _check_page(page: int | None, there: int, own: int, path: Path) -> None:
    if page is None and own > 1:
        raise ValueError(
            f"{path} holds {there} pages: pass page=0 … page={there - 1} for one of them, or save them one a file."
        )
    if page is not None and not 0 <= page < there:
        raise ValueError(f"{path} has no page {page}: it holds {there}, counted from 0.")


def _own_pages(picture: Any) -> int:
    """Count pages, without the small copies that lie beside a picture: a phone's preview, the levels of a scan."""
    there = getattr(picture, "n_frames", 1)
    if picture.format != "TIFF" or there == 1:
        return 1 if picture.format == "MPO" else there
    copies = 0
    for number in range(1, there):
        picture.seek(number)
        copies += picture.tag_v2.get(SUBFILE, 0) & 1
    return there - copies


def _depth(picture: Any) -> int:
    """Bits of a channel in the file, of which Pillow keeps 8 where it is deep colour."""
    if picture.format == "TIFF":
        return int(np.max(picture.tag_v2.get(BITS, 1)))
    return 16 if picture.mode.startswith("I") or ";16" in str(picture.tile) else 8


def _turn_upright(picture: Image.Image) -> bool:
    """Turn a decoded picture as its EXIF orientation says; tell whether height and width have changed places."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged EXIF block has no orientation
        lying = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        ImageOps.exif_transpose(picture, in_place=True)
    return lying
