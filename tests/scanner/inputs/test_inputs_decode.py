"""Decoding against torchvision's own loader and transforms, bit for bit; and images made to do harm."""

from __future__ import annotations

import contextlib
import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile
from torchvision import transforms
from torchvision.datasets.folder import pil_loader

from scanner.inputs import decode as decode_module
from scanner.inputs.decode import decode, image_size
from scanner.inputs.geometry import resized_size
from scanner.inputs.items import REASONS, UnreadableInput
from scanner.inputs.presets import preset
from scanner.inputs.sizes import sample_sizes
from scanner.inputs.source import open_source
from scanner.inputs.spec import PreprocessSpec

# From torchvision's loader. The module under test keeps its own quiet; pytest resets its filters.
pytestmark = pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")

MODES = {
    "nearest": transforms.InterpolationMode.NEAREST,
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "lanczos": transforms.InterpolationMode.LANCZOS,
}


def spec_of(
    size: tuple[int, int],
    resize: int | tuple[int, int] | None = None,
    *,
    crop: bool = False,
    channels: int = 3,
    interpolation: Any = "bilinear",
) -> PreprocessSpec:
    return PreprocessSpec(size, channels, resize, interpolation, crop, 1 / 255, (0.0,) * channels, (1.0,) * channels)


def texture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth colours with noise: JPEG artefacts and resize rounding both show."""
    y, x, c = np.mgrid[:height, :width, :channels]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, channels))
    return (97 + 90 * np.sin(x / 5 + c) * np.cos(y / 7) + noise / 2).clip(0, 255).astype(np.uint8)


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def reason(data: bytes | np.ndarray, spec: PreprocessSpec | None = None) -> str:
    with pytest.raises(UnreadableInput) as caught:
        decode(data, spec or spec_of((8, 8), (8, 8)))
    assert caught.value.reason in REASONS
    assert "\n" not in caught.value.detail
    return caught.value.reason


# --- geometry against torchvision ---


@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.one_of(st.none(), st.integers(1, 60), st.tuples(st.integers(1, 60), st.integers(1, 60))),
    st.sampled_from(sorted(MODES)),
    st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=300)
def test_resize_and_crop_are_torchvisions(
    height: int,
    width: int,
    size: tuple[int, int],
    resize: int | tuple[int, int] | None,
    interpolation: str,
    channels: int,
) -> None:
    pixels = texture(height, width, channels)
    if isinstance(resize, int) and resize * max(height, width) // min(height, width) == 0:
        return
    steps = [] if resize is None else [transforms.Resize(resize, MODES[interpolation])]
    image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    expected = transforms.Compose([*steps, transforms.CenterCrop(size)])(image)
    ours = decode(pixels, spec_of(size, resize, crop=True, channels=channels, interpolation=interpolation))
    np.testing.assert_array_equal(ours, np.asarray(expected).reshape(*size, channels))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 600))
@settings(deadline=None)
def test_rounding_of_the_longer_side(width: int, height: int, resize: int) -> None:
    from torchvision.transforms.functional import _compute_resized_output_size

    expected_height, expected_width = _compute_resized_output_size((height, width), [resize])
    assert resized_size(width, height, resize) == (expected_width, expected_height)


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (333, 499), (224, 224), (100, 90), (256, 1024)])
def test_the_usual_transform_of_photos(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(texture(*shape)).save(path, quality=90)
    steps = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    spec = preset("imagenet:crop", 3, (224, 224))
    assert spec is not None
    np.testing.assert_array_equal(decode(path.read_bytes(), spec), np.asarray(steps(pil_loader(str(path)))))


def test_an_image_of_another_size_without_a_resize() -> None:
    assert reason(texture(9, 8), spec_of((8, 8))) == "bad-shape"
    assert reason(texture(9, 18), spec_of((8, 8), 8)) == "bad-shape"
    assert decode(texture(9, 9), spec_of((8, 8), 8)).shape == (8, 8, 3)


# --- formats and modes against torchvision's loader ---


def paletted(transparency: Any = None) -> tuple[Image.Image, dict[str, Any]]:
    image = Image.fromarray(texture(12, 10)).quantize(16)
    return image, {} if transparency is None else {"transparency": transparency}


def cases() -> dict[str, bytes]:
    colour = Image.fromarray(texture(12, 10))
    grey = colour.convert("L")
    alpha = colour.convert("RGBA")
    alpha.putalpha(Image.fromarray(texture(12, 10, 1, seed=3)[:, :, 0]))
    palette, _ = paletted()
    found = {
        "rgb.png": encode(colour, "PNG"),
        "rgba.png": encode(alpha, "PNG"),
        "la.png": encode(alpha.convert("LA"), "PNG"),
        "grey.png": encode(grey, "PNG"),
        "bit.png": encode(grey.convert("1"), "PNG"),
        "palette.png": encode(palette, "PNG"),
        "palette-key.png": encode(palette, "PNG", transparency=3),
        "palette-alpha.png": encode(palette, "PNG", transparency=bytes(range(0, 160, 10))),
        "rgb-key.png": encode(colour, "PNG", transparency=(1, 2, 3)),
        "grey-key.png": encode(grey, "PNG", transparency=7),
        "rgb.jpg": encode(colour, "JPEG"),
        "progressive.jpg": encode(colour, "JPEG", progressive=True, subsampling=0),
        "grey.jpg": encode(grey, "JPEG"),
        "cmyk.jpg": encode(colour.convert("CMYK"), "JPEG"),
        "rgb.bmp": encode(colour, "BMP"),
        "palette.bmp": encode(palette, "BMP"),
        "still.gif": encode(palette, "GIF"),
        "transparent.gif": encode(palette, "GIF", transparency=2),
        "grey.gif": encode(grey, "GIF"),
        "rgb.webp": encode(colour, "WEBP", lossless=True),
        "lossy.webp": encode(colour, "WEBP", quality=70),
        "rgba.webp": encode(alpha, "WEBP", lossless=True),
        "rgb.tif": encode(colour, "TIFF"),
        "lzw.tif": encode(colour, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encode(colour, "TIFF", compression="jpeg"),
        "cmyk.tif": encode(colour.convert("CMYK"), "TIFF"),
        "rgb.ppm": encode(colour, "PPM"),
        "grey.pgm": encode(grey, "PPM"),
        "bit.pbm": encode(grey.convert("1"), "PPM"),
        "plain.ppm": b"P3 2 1 255 1 2 3 40 50 60\n",
    }
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    found["turned.jpg"] = encode(colour, "JPEG", exif=exif)
    found["turned.png"] = encode(colour, "PNG", exif=exif)
    found["turned.tif"] = encode(colour, "TIFF", exif=exif)
    found["camera.jpg"] = encode(colour, "MPO", save_all=True, append_images=[Image.new("RGB", (6, 4))])
    found["trailing.jpg"] = found["rgb.jpg"] + b"garbage after the end"
    return found


@pytest.mark.parametrize(("name", "data"), cases().items())
def test_every_format_and_mode_is_torchvisions_pixels(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    expected = pil_loader(str(path))
    size = (expected.height, expected.width)
    assert image_size(data) == size
    np.testing.assert_array_equal(decode(data, spec_of(size)), np.asarray(expected))
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"))[..., None]
    np.testing.assert_array_equal(decode(data, spec_of(size, channels=1)), grey)


def test_exif_orientation_is_not_applied() -> None:
    assert image_size(cases()["turned.jpg"]) == (12, 10)
    assert image_size(cases()["turned.png"]) == (12, 10)


def test_sixteen_bit_and_float_images_are_refused() -> None:
    wide = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    assert reason(encode(Image.fromarray(wide), "PNG")) == "unsupported-mode"
    assert reason(encode(Image.fromarray(wide), "TIFF")) == "unsupported-mode"
    assert reason(encode(Image.fromarray(wide.astype(np.int32)), "TIFF")) == "unsupported-mode"
    assert reason(encode(Image.fromarray(wide.astype(np.float32)), "TIFF")) == "unsupported-mode"
    assert reason(b"P5 2 1 65535\n\0\1\0\2") == "unsupported-mode"


def test_animations_and_pages_are_refused() -> None:
    frames = [Image.fromarray(texture(8, 8, seed=i)) for i in range(3)]
    for file_format in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert reason(data) == "animated", file_format


# --- arrays ---


def test_arrays_follow_the_same_path_as_files() -> None:
    pixels = texture(20, 30)
    for spec in (
        spec_of((20, 30)),
        spec_of((8, 9), (8, 9)),
        spec_of((10, 10), 12, crop=True),
        spec_of((20, 30), channels=1),
        spec_of((40, 50), crop=True),
    ):
        np.testing.assert_array_equal(decode(pixels, spec), decode(encode(Image.fromarray(pixels), "PNG"), spec))
    grey = pixels[:, :, 0]
    for array in (grey, grey[:, :, None], np.asfortranarray(grey)):
        for channels in (1, 3):
            spec = spec_of((8, 9), (8, 9), channels=channels)
            expected = decode(encode(Image.fromarray(grey), "PNG"), spec)
            np.testing.assert_array_equal(decode(array, spec), expected)
    assert image_size(grey) == image_size(pixels) == (20, 30)


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.booleans(), st.integers(1, 20))
@settings(deadline=None)
def test_skipping_work_changes_nothing(height: int, width: int, channels: int, crop: bool, resize: int) -> None:
    pixels = texture(height, width, channels)
    for target in (None, (height, width), min(height, width), resize):
        spec = spec_of((height, width), target, crop=crop, channels=channels)
        image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
        try:
            expected = decode(encode(image, "PNG"), spec)
        except UnreadableInput as error:
            assert reason(pixels, spec) == error.reason  # noqa: PT017
        else:
            np.testing.assert_array_equal(decode(pixels, spec), expected)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 4), np.float32),
    ],
)
def test_arrays_that_are_no_image(array: np.ndarray) -> None:
    assert reason(array) == "bad-shape"


# --- files made to do harm, or just broken ---


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7072, 10_000, 14_000, 60_000, 2**31 - 1])
def test_a_huge_header_is_refused_before_pixels_are_allocated(side: int) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert reason(png(side, side, zlib.compress(b"\0" * 100))) == "too-large"
    # Below Pillow's own limit nothing may be said at all; beyond it, the process's filters decide.
    assert not caught or side > 9000


def test_huge_headers_of_other_formats() -> None:
    bmp = b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, *[0] * 6)
    gif = b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0)
    assert reason(bmp + bytes(50)) == "too-large"
    assert reason(gif + bytes(50)) == "too-large"
    assert reason(b"P6 99999 99999 255\n") == "too-large"
    assert reason(b"P6 99999999999999999999 9 255\n") in ("too-large", "damaged")
    jpeg = bytearray(encode(Image.fromarray(texture(16, 16)), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 60000, 60000)
    assert reason(bytes(jpeg)) == "too-large"


def test_resizing_a_thin_image_takes_no_memory() -> None:
    thin = np.zeros((2_000_000, 1), np.uint8)
    assert reason(thin, spec_of((224, 224), 256, crop=True, channels=1)) == "too-large"  # would be 256 x 512 million
    assert reason(thin, spec_of((224, 224), (224, 224), channels=1)) == "too-large"  # 224 x 2 million on the way
    assert reason(thin.T, spec_of((224, 224), 256, crop=True, channels=1)) == "too-large"
    assert decode(thin.T, spec_of((8, 8), (8, 8), channels=1)).shape == (8, 8, 1)


def test_truncation_is_an_error_in_every_format() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    for name, data in cases().items():
        if name in ("camera.jpg", "trailing.jpg", "plain.ppm"):
            continue
        spec = spec_of((8, 8), (8, 8))
        assert reason(data[: len(data) // 2], spec) in ("truncated", "damaged"), name
        assert reason(data[:20], spec) in ("truncated", "damaged", "not-an-image"), name


@pytest.mark.parametrize("name", sorted(cases().keys() - {"plain.ppm"}))  # plain text has no end to miss
def test_every_truncation_gives_the_same_pixels_or_a_reason(name: str) -> None:
    data = CASES[name]
    spec = spec_of(image_size(data))
    whole = decode(data, spec)
    for length in range(len(data)):
        with contextlib.suppress(UnreadableInput):
            np.testing.assert_array_equal(decode(data[:length], spec), whole, err_msg=f"{length} bytes")


def test_a_truncated_jpeg_is_called_so() -> None:
    data = encode(Image.fromarray(texture(64, 64)), "JPEG")
    assert reason(data[:-100]) == "truncated"
    assert image_size(data[:-100]) == (64, 64)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"hello", "not-an-image"),
        (b"\x00" * 100, "not-an-image"),
        (b"%PDF-1.7 ...", "unsupported-format"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "unsupported-format"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "unsupported-format"),
        (b"8BPS\0\1", "unsupported-format"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image"),
    ],
)
def test_what_is_no_image(data: bytes, code: str) -> None:
    assert reason(data) == code


def test_formats_outside_the_list_are_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(Image, "init", lambda: opened.append("init"))
    buffer = io.BytesIO()
    Image.fromarray(texture(8, 8)).save(buffer, "ICO")
    assert reason(buffer.getvalue()) == "unsupported-format"
    assert not opened


@given(st.sampled_from(sorted(cases())), st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
@settings(deadline=None, max_examples=400)
def test_damage_anywhere_is_pixels_or_a_reason(name: str, position: int, patch: bytes) -> None:
    data = bytearray(CASES[name])
    position %= len(data)
    data[position : position + len(patch)] = patch
    with contextlib.suppress(UnreadableInput):
        pixels = decode(bytes(data), spec_of((8, 8), (8, 8)))
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8


CASES = cases()


def test_a_decoder_out_of_memory_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode_module, "resize_and_crop", fail)
    assert reason(CASES["rgb.png"]) == "too-large"


def test_nothing_of_pillow_reaches_the_terminal(tmp_path: Path) -> None:
    """No warning and no log line, in a fresh process with Python's default filters and worker threads."""
    bad_exif = bytearray(CASES["turned.jpg"])
    start = bad_exif.index(b"Exif\0\0")
    bad_exif[start + 14 : start + 16] = b"\xff\xff"
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000))
    (tmp_path / "b.png").write_bytes(CASES["palette-alpha.png"])
    (tmp_path / "c.jpg").write_bytes(bytes(bad_exif))
    (tmp_path / "d.tif").write_bytes(
        CASES["rgb.tif"].replace(struct.pack("<HHI", 258, 3, 3), struct.pack("<HHI", 258, 3, 90))
    )
    (tmp_path / "e.tif").write_bytes(
        CASES["rgb.tif"].replace(struct.pack("<HHIH", 277, 3, 1, 3), struct.pack("<HHIH", 277, 3, 1, 20))
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from scanner.inputs.source import open_source\n"
        "from scanner.inputs.pipeline import run_pipeline\n"
        "from scanner.inputs.preprocess import parse_flag\n"
        "source = open_source(Path(sys.argv[1]))\n"
        "batches = run_pipeline(source, parse_flag('unit', 3, (8, 8)), lambda p: {'s': p.mean((1, 2, 3))}, threads=4)\n"
        "print([reason for b in batches for _, reason, _ in b.unreadable])\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert done.stderr == ""
    assert done.stdout.startswith("['too-large'")


def test_threads_get_the_same_pixels() -> None:
    spec = spec_of((9, 9), (9, 9))
    expected = {name: decode(data, spec) for name, data in CASES.items()}
    wrong: list[str] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(n for n, data in CASES.items() if not np.array_equal(decode(data, spec), expected[n]))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# --- sizes of a sample ---


def test_sizes_of_a_sample(tmp_path: Path) -> None:
    for index in range(10):
        Image.new("L", (index + 1, 5)).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    (tmp_path / "2.png").write_bytes(png(300, 200))  # the header is enough
    source = open_source(tmp_path)
    assert sample_sizes(source, 10) == ((5, 1), (5, 2), (200, 300), *((5, n) for n in range(5, 11)))
    assert sample_sizes(source, 4) == ((5, 1), (5, 7), (5, 10))
    assert sample_sizes(source, 1) == ((5, 1),)
    np.save(tmp_path / "a.npy", np.zeros((3, 1, 6, 7), np.uint8))
    assert set(sample_sizes(open_source(tmp_path / "a.npy"))) == {(6, 7)}
