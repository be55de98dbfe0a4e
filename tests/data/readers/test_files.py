"""Picture files as phones, cameras, scanners and archives leave them, and what is said of those that are none."""

import os
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from otad.data import resize
from otad.data.readers import files
from otad.data.readers.files import image_files, read_image, read_sized, resize_mask, stack, tell_inverted

TURNED = {  # orientation → the picture as it is stored, from the picture as it is seen
    1: lambda v: v,
    2: lambda v: v[:, ::-1],
    3: lambda v: v[::-1, ::-1],
    4: lambda v: v[::-1],
    5: lambda v: v.swapaxes(0, 1),
    6: lambda v: np.rot90(v),
    7: lambda v: np.rot90(v, 2).swapaxes(0, 1),
    8: lambda v: np.rot90(v, -1),
}


def smooth(height: int = 16, width: int = 24) -> np.ndarray:
    """Bytes without a symmetry, and without edges that JPEG would smear."""
    y, x = np.mgrid[:height, :width]
    return (20 + 180 * y / height + 50 * x / width).astype(np.uint8)


def lying(values: np.ndarray, orientation: int, path: Path) -> Path:
    exif = Image.Exif()
    exif[files.ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(TURNED[orientation](values))).save(path, exif=exif)
    return path


@pytest.fixture
def quiet():
    """Nobody's warnings may reach a page."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# Orientation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_comes_upright(tmp_path, quiet, orientation, suffix):
    values = smooth()
    image, original = read_sized(lying(values, orientation, tmp_path / f"phone{suffix}"))
    assert original == values.shape
    assert (image[1] * 255 - torch.from_numpy(values)).abs().max() < (4 if suffix == ".jpg" else 1e-3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_large_jpeg_is_decoded_smaller_and_comes_upright(tmp_path, monkeypatch, quiet, orientation):
    monkeypatch.setattr(files, "LARGE", 50 * 50)
    values = smooth(640, 480)
    image, original = read_sized(lying(values, orientation, tmp_path / "phone.jpg"), (20, 15))
    assert original == (640, 480)
    expected = resize(torch.from_numpy(values)[None, None] / 255.0, (20, 15))[0, 0]
    assert (image[0] - expected).abs().max() < 0.02


def test_a_damaged_exif_block_has_no_orientation(tmp_path, quiet):
    path = lying(smooth(), 6, tmp_path / "phone.jpg")
    content = path.read_bytes()
    at = content.index(b"Exif\0\0") + 6
    path.write_bytes(content[: at + 10] + b"\xff" * 8 + content[at + 18 :])
    assert read_image(path).shape == (3, 24, 16)  # as it is stored


# Bits -----------------------------------------------------------------------------------------------------


def deep(path: Path, top: int, bits: int = 16) -> np.ndarray:
    values = np.linspace(0, top, 16 * 24).round().reshape(16, 24).astype(np.uint16)
    Image.fromarray(values).save(path)
    return values


def packed_tiff(values: np.ndarray, path: Path) -> None:
    """Write 12-bit grey as TIFF stores it: two values in three bytes."""
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    data = (
        np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    )
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, height), (279, 4, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(header + data + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("top", "bits"), [(1023, 10), (4001, 12), (9000, 14)])
def test_undeclared_bits_are_not_guessed(tmp_path, quiet, top, bits, suffix):
    values = deep(tmp_path / f"camera{suffix}", top)
    with pytest.raises(ValueError, match=rf"camera\{suffix} reaches {top} of the 65535 .* pass bits={bits}"):
        read_image(tmp_path / f"camera{suffix}")
    image = read_image(tmp_path / f"camera{suffix}", bits=bits)
    assert torch.equal(image[2], torch.from_numpy(values).float() / (2**bits - 1))
    dark = read_image(tmp_path / f"camera{suffix}", bits=16)
    assert torch.equal(dark[0], torch.from_numpy(values).float() / 65535)


@pytest.mark.parametrize("top", [0, 20000, 65535])
def test_what_fills_its_bits_or_is_black_is_read_as_it_is(tmp_path, quiet, top):
    values = deep(tmp_path / "camera.png", top)
    assert torch.equal(read_image(tmp_path / "camera.png")[1], torch.from_numpy(values).float() / 65535)


def test_declared_bits_are_taken(tmp_path, quiet):
    values = np.random.default_rng(0).integers(0, 4096, (16, 24))
    packed_tiff(values, tmp_path / "packed.tif")
    assert torch.equal(read_image(tmp_path / "packed.tif")[0], torch.from_numpy(values).float() / 4095)
    packed_tiff(values // 20, tmp_path / "night.tif")  # declared, so dark is dark
    assert read_image(tmp_path / "night.tif").max() < 0.06


def test_values_beyond_the_bits_are_refused(tmp_path):
    deep(tmp_path / "camera.png", 5000)
    with pytest.raises(ValueError, match=r"camera\.png has values from 0 to 5000, outside .* 0 to 4095"):
        read_image(tmp_path / "camera.png", bits=12)
    with pytest.raises(ValueError, match="bits is 0: expected 1 to 32"):
        read_image(tmp_path / "camera.png", bits=0)


@pytest.mark.parametrize("top", [4001, 60000])
def test_deep_colour_is_read_only_where_eight_bits_hold_it(tmp_path, top):
    import tifffile

    values = np.linspace(0, top, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", values, photometric="rgb")
    if top == 60000:
        image = read_image(tmp_path / "deep.tif")
        assert (image.permute(1, 2, 0) * 65535 - torch.from_numpy(values).float()).abs().max() < 258
    else:
        with pytest.raises(ValueError, match=r"deep\.tif has colour of 16 bits.* they reach 15 of 255"):
            read_image(tmp_path / "deep.tif")
        assert read_image(tmp_path / "deep.tif", bits=16).max() == 15 / 255


def test_floats_outside_their_range_are_refused(tmp_path):
    for value, words in ((1.5, "from 0 to 1.5"), (float("nan"), "NaN"), (float("inf"), "to inf")):
        values = np.zeros((16, 24), np.float32)
        values[3, 4] = value
        Image.fromarray(values).save(tmp_path / "float.tif")
        with pytest.raises(ValueError, match=rf"float\.tif has values .*{words}.*save it as"):
            read_image(tmp_path / "float.tif")


def test_a_palette_with_transparent_colours_is_no_reason_to_warn(tmp_path, quiet):
    picture = Image.fromarray(np.dstack([smooth()] * 3)).convert("P")
    picture.save(tmp_path / "web.png", transparency=bytes([0, 128, 255]))
    colours = torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)
    assert torch.equal(read_image(tmp_path / "web.png").permute(1, 2, 0), colours)


# Pages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_a_file_of_several_pages_is_refused_and_one_can_be_chosen(tmp_path, quiet, suffix):
    pages = [Image.fromarray(np.full((16, 24), 50 * n, np.uint8)) for n in range(5)]
    path = tmp_path / f"stack{suffix}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=rf"stack\{suffix} holds 5 pages: pass page=0 … page=4"):
        read_image(path)
    for n in (0, 3):
        assert torch.allclose(read_image(path, page=n) * 255, torch.tensor(50.0 * n))
    for n in (5, -1):
        with pytest.raises(ValueError, match=rf"has no page {n}: it holds 5, counted from 0"):
            read_image(path, page=n)


def test_the_small_copies_beside_a_scan_are_no_pages(tmp_path, quiet):
    import tifffile

    with tifffile.TiffWriter(tmp_path / "scan.tif") as scan:
        scan.write(smooth(32, 48))
        scan.write(smooth(16, 24), subfiletype=1)
    assert torch.equal(read_image(tmp_path / "scan.tif")[0] * 255, torch.from_numpy(smooth(32, 48)).float())


def test_the_preview_in_a_phones_jpeg_is_no_page(tmp_path, quiet):
    large, small = Image.fromarray(smooth(32, 48)), Image.fromarray(smooth(8, 12))
    large.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[small])
    assert read_image(tmp_path / "phone.jpg").shape == (3, 32, 48)


# What is no picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty, 0 bytes; copy it again"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50),
            "a HEIC picture, as phones take; export it as JPEG",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(50), "a HEIC picture or a video; export the picture"),
        (b"\0\0\0\x18ftypisom\0\0\0\0" + bytes(50), "an AVIF picture or a video; export the picture"),
        (b"%PDF-1.7\n", "a PDF; export the page as PNG"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of Git LFS, not the picture; run git lfs",
        ),
        (b"<!DOCTYPE html><html>404", "the error page of a download; download it again"),
        (b"not a picture", "in no format of pictures, or damaged where it begins"),
    ],
)
def test_what_a_file_is_if_it_is_no_picture(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png cannot be read as an image: .*{re.escape(words)}"):
        read_image(tmp_path / "a.png")


def test_a_damaged_file_is_to_be_copied_again(tmp_path):
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"a{suffix}"
        noise = np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        with pytest.raises(ValueError, match=rf"a\{suffix} cannot be read as an image: .*copy it again"):
            read_image(path)


def test_only_what_a_copy_can_mend_is_to_be_copied_again(tmp_path, monkeypatch):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    Image.fromarray(smooth()).save(tmp_path / "large.png")
    monkeypatch.setattr(files, "HUGE", 300)
    for name, words in (
        ("folder.png", "it is a folder; give one picture file"),
        ("nothing.png", "it is missing; check the name"),
        ("pipe.png", "it is a device or a pipe"),
        ("large.png", "has 16 × 24 pixels: at most .* are read; cut it into parts"),
    ):
        with pytest.raises(ValueError, match=words) as raised:
            read_image(tmp_path / name)
        _, named, said = str(raised.value).rpartition(name)
        assert named
        assert "copy" not in said


def test_no_path_at_all():
    for path in (None, 3, b"a.png", ["a.png"]):
        with pytest.raises(ValueError, match=r"path is .*: expected str \| Path"):
            read_image(path)
    for path in ("~nobody-of-this-name/a.png", "a" * 5000, "a\0b.png"):
        with pytest.raises(ValueError, match=r"no path on this machine|is missing"):
            read_image(path)


# Large pictures -------------------------------------------------------------------------------------------


@pytest.fixture
def small_limits(monkeypatch):
    """Pillow warns beyond 400 pixels, refuses beyond 800; ours are read smaller beyond 2,000."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    monkeypatch.setattr(files, "LARGE", 2000)


@pytest.mark.parametrize(
    ("mode", "name"),
    [(mode, f"a.{end}") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") for end in ("png", "tif")]
    + [("CMYK", "a.tif"), ("L", "a.jpg")],
)
def test_a_large_picture_is_read_smaller_and_means_the_same(tmp_path, small_limits, quiet, mode, name):
    values = smooth(120, 90)
    if mode == "I;16":
        Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / name)
    else:
        Image.fromarray(np.dstack([values] * 3)).convert(mode).save(tmp_path / name)
    small, original = read_sized(tmp_path / name, (12, 10))
    files.LARGE = 10**6  # set back by the fixture
    assert original == (120, 90)
    rounded = 4 if mode == "1" else 2  # of 255, twice: once each way
    assert (small - read_image(tmp_path / name, (12, 10))).abs().max() < rounded / 255
    assert Image.MAX_IMAGE_PIXELS == 400


def test_without_a_size_a_large_picture_is_read_at_a_whole_part_and_says_so(tmp_path, small_limits):
    Image.fromarray(smooth(101, 90)).save(tmp_path / "scan.png")
    with pytest.warns(
        UserWarning, match=r"scan\.png has 101 × 90 pixels and is read at 34 × 30; give a size"
    ):
        image = read_image(tmp_path / "scan.png")
    assert image.shape == (3, 34, 30)
    assert image[0, -1, -1] > image[0, 0, 0] + 0.7


def test_a_picture_that_pillow_refuses_is_read(tmp_path, quiet):
    """196 megapixels: black on the left, white on the right, a bit a pixel."""
    picture = Image.new("1", (14000, 14000))
    picture.paste(1, (7000, 0, 14000, 14000))
    picture.save(tmp_path / "scan.png", compress_level=1)
    image, original = read_sized(tmp_path / "scan.png", (10, 20))
    assert original == (14000, 14000)
    assert torch.allclose(image[:, :, :9], torch.zeros(3, 10, 9))
    assert torch.allclose(image[:, :, 11:], torch.ones(3, 10, 9))


# Folders and masks ----------------------------------------------------------------------------------------


def test_what_programs_leave_in_a_folder_is_not_seen(tmp_path):
    for name in ("b.png", "A.PNG", "._b.png", ".b.jpg", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["A.PNG", "b.png"]


def test_the_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.fromarray(smooth()).save(tmp_path / "a.png")
    assert read_image("~/a.png").shape == (3, 16, 24)


def test_stack_returns_the_sizes_in_the_files(tmp_path):
    paths = [lying(smooth(16, 24), 6, tmp_path / "a.jpg"), lying(smooth(30, 20), 1, tmp_path / "b.png")]
    images, originals = stack(paths, (8, 10))
    assert images.shape == (2, 3, 8, 10)
    assert originals == [(16, 24), (30, 20)]


def test_no_defect_vanishes_when_a_mask_is_resized():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    assert not resize_mask(mask, (6, 5)).any()
    mask[11, 79] = True
    mask[10, 60:62] = True
    small = resize_mask(mask, (6, 5))
    assert small.nonzero().tolist() == [[1, 3]]  # rows 10 to 19, columns 48 to 63
    assert resize_mask(mask, (60, 80)) is mask


def test_inverted_masks_are_told_by_name():
    masks = {
        Path(f"{n}_mask.png"): torch.rand(40, 50) < share for n, share in enumerate([0.1, 0.93, 0.4, 0.97])
    }
    with pytest.warns(UserWarning, match=r"1_mask\.png \(9\d%\), 3_mask\.png \(9\d%\); if they are inverted"):
        tell_inverted(masks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_inverted({Path("a"): masks[Path("0_mask.png")]})
