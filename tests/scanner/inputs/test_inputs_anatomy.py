"""Images of many parts are refused before a decoder meets them, and those of cameras and editors are not."""

from __future__ import annotations

import io

import hostile_images
import numpy as np
import pytest
from PIL import Image

from scanner.inputs import anatomy, decode
from scanner.inputs.anatomy import require_few_parts
from scanner.inputs.items import REASONS, UnreadableInput
from scanner.inputs.spec import PreprocessSpec

SPEC = PreprocessSpec((32, 32), 3, None, "bilinear", False, 1 / 255, (0.0,) * 3, (1.0,) * 3)


def saved(form: str, mode: str = "RGB", size: tuple[int, int] = (32, 32), **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"progressive": True, "quality": 95, "comment": b"x" * 60_000}),
        ("JPEG", {"icc_profile": bytes(500_000), "restart_marker_rows": 1}),
        ("PNG", {"compress_level": 0}),
        ("BMP", {}),
        ("GIF", {"comment": b"x" * 5_000}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("size", [(32, 32), (1_200, 800)])
def test_honest_images_pass(form: str, options: dict[str, object], size: tuple[int, int]) -> None:
    require_few_parts(saved(form, size=size, **options))


def test_honest_pixels_are_as_before() -> None:
    for form in ("PNG", "BMP", "TIFF", "PPM"):
        data = saved(form)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        assert np.array_equal(decode.decode(data, SPEC), expected)
    data = saved("JPEG", progressive=True, quality=90)
    assert np.array_equal(decode.decode(data, SPEC), np.asarray(Image.open(io.BytesIO(data))))


def test_a_tiff_of_tiles_that_stand_out_a_little() -> None:
    """Those at the edges are whole, and a reader decodes all of them."""
    data = hostile_images.tiff_tiles((300, 260), (256, 256))
    require_few_parts(data)
    large = hostile_images.tiff_tiles((28, 28), (4_096, 4_096))
    assert np.asarray(Image.open(io.BytesIO(large))).shape == (28, 28)
    require_few_parts(large)


@pytest.mark.parametrize(
    "data",
    [
        hostile_images.tiff_shared_strips(28, 50_000),
        hostile_images.tiff_tiles((28, 28), (16_000, 16_000)),
        hostile_images.tiff_tiles((28_000, 28), (16, 160_000)),
    ],
    ids=["one strip many times", "a tile larger than any image", "tiles far taller than the image"],
)
def test_work_that_few_bytes_of_a_tiff_make(data: bytes) -> None:
    with pytest.raises(UnreadableInput, match=r"overlap|tiles of \d+ pixels"):
        require_few_parts(data)


def test_a_tiff_of_a_row_in_each_strip() -> None:
    data = saved("TIFF", size=(32, 5_000), compression="packbits", strip_size=96)
    require_few_parts(data)
    assert Image.open(io.BytesIO(data)).tag_v2[273][1] > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_cut_files_are_left_to_the_decoder(length: int) -> None:
    for data in (
        hostile_images.jpeg_scans(3),
        hostile_images.png_chunks(3),
        hostile_images.gif(hostile_images.gif_comments(2, 2)),
        hostile_images.tiff_strips(10),
        hostile_images.tiff_strips(10, big=True),
        hostile_images.bmp_rle(100),
        b"P6 # x\n 3 3 255\n" + bytes(27),
    ):
        require_few_parts(data[:length])


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (hostile_images.jpeg_scans, anatomy.MAX_SCANS),
        (hostile_images.jpeg_segments, anatomy.MAX_SEGMENTS),
        (hostile_images.png_chunks, anatomy.MAX_EXTRAS),
        (lambda count: hostile_images.gif(hostile_images.gif_comments(1, count)), anatomy.MAX_SUB_BLOCKS),
        (hostile_images.tiff_strips, anatomy.MAX_VALUES),
        (lambda count: hostile_images.tiff([(65_000, 4, 1, 0)] * count), anatomy.MAX_ENTRIES),
    ],
)
def test_bounds_are_where_they_are_said_to_be(data: object, limit: int) -> None:
    require_few_parts(data(limit // 2))  # type: ignore[operator]
    with pytest.raises(UnreadableInput) as caught:
        require_few_parts(data(limit + 1))  # type: ignore[operator]
    assert caught.value.reason == "too-complex"


def test_an_image_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_SECONDS", -1.0)
    for form in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM"):
        with pytest.raises(UnreadableInput) as caught:
            decode.decode(saved(form), SPEC)
        assert caught.value.reason == "too-slow"


def test_the_deadline_is_looked_at_while_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock runs out after the header, in the middle of the coded data."""
    asked = iter(range(10**6))
    monkeypatch.setattr(decode.time, "thread_time", lambda: 0.0 if next(asked) < 60 else 100.0)
    spec = PreprocessSpec((1_000, 1_000), 3, None, "bilinear", False, 1 / 255, (0.0,) * 3, (1.0,) * 3)
    data = saved("JPEG", size=(1_000, 1_000), quality=95)
    with pytest.raises(UnreadableInput) as caught:
        decode.decode(data, spec)
    assert caught.value.reason == "too-slow"


def test_a_size_that_does_not_fit_is_told_from_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_self: object) -> None:
        raise AssertionError("pixels were decoded")

    data = saved("PNG", size=(64, 64))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(UnreadableInput) as caught:
        decode.decode(data, SPEC)
    assert caught.value.reason == "bad-shape"


def test_the_reasons_are_known() -> None:
    assert {"too-complex", "too-slow"} <= REASONS
