"""The clean images of a profile: what goes in comes out, and what a stranger made is refused."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image

from scanner.base.errors import ProfileError
from scanner.profile.clean_images import MAX_BYTES, MAX_IMAGES, clean_images, encode_image, join_images

SHAPE = (8, 6, 3)


def png(size: tuple[int, int] = (6, 8), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def store(line: bytes | object, files: bytes = b"") -> np.ndarray:
    head = line if isinstance(line, bytes) else json.dumps(line).encode()
    return np.frombuffer(head + b"\n" + files, np.uint8)


@given(st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])).flatmap(
    lambda shape: arrays(np.uint8, shape)))  # fmt: skip
def test_small_images_come_back_exactly(images: np.ndarray) -> None:
    back = clean_images(join_images([encode_image(image) for image in images]), images.shape[1:])
    np.testing.assert_array_equal(back, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_largest_that_are_lossless_and_larger_ones(channels: int) -> None:
    ramp = np.add.outer(np.arange(224), np.arange(224)) * 255 // 446
    large = np.repeat(ramp[..., None], channels, 2).astype(np.uint8)
    small = large[:64, :64]
    np.testing.assert_array_equal(clean_images(join_images([encode_image(small)]), small.shape)[0], small)
    file = encode_image(large)
    assert file[8:12] == b"WEBP"
    back = clean_images(join_images([file]), large.shape)[0]
    assert back.shape == large.shape
    assert np.abs(back.astype(int) - large).mean() < 2


def test_an_empty_store_has_no_images() -> None:
    assert join_images([]).size == 0
    assert clean_images(join_images([]), SHAPE).shape == (0, *SHAPE)


def test_no_more_are_decoded_than_are_wanted() -> None:
    files = [encode_image(np.full(SHAPE, value, np.uint8)) for value in (1, 2)] + [b"damaged"]
    for most in (1, 2):
        images = clean_images(join_images(files), SHAPE, most)
        assert images[:, 0, 0, 0].tolist() == [1, 2][:most]
    with pytest.raises(ProfileError, match="damaged"):
        clean_images(join_images(files), SHAPE, 3)


def test_nothing_of_a_file_is_kept_but_pixels() -> None:
    assert encode_image(np.zeros(SHAPE, np.uint8)) == encode_image(np.zeros(SHAPE, np.uint8))
    image = Image.open(io.BytesIO(encode_image(np.zeros(SHAPE, np.uint8))))
    image.load()
    assert image.info == {}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (6, 8), color) for color in ("red", "blue")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], lossless=True)
    return buffer.getvalue()


def other(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 8)).save(buffer, kind)
    return buffer.getvalue()


FINE = png()
HOSTILE = {
    "a length too long": store([len(FINE) + 1], FINE),
    "a length too short": store([len(FINE) - 1], FINE),
    "one length for two": store([len(FINE)], FINE * 2),
    "two lengths for one": store([len(FINE)] * 2, FINE),
    "negative lengths": store([2 * len(FINE), -len(FINE)], FINE),
    "a length of zero": store([0, len(FINE)], FINE),
    "a boolean": store([True, len(FINE) - 1], FINE),
    "fractions": store([float(len(FINE))], FINE),
    "a huge number": store(b"[1" + b"0" * 4000 + b"]", FINE),
    "a number that takes long to read": store(b"[" + b"9" * 10_000 + b"]", FINE),
    "no list": store({"a": 1}, FINE),
    "no lengths": store([], b""),
    "null": store(None, FINE),
    "no JSON": store(b"\xff\xfe", FINE),
    "no line": np.frombuffer(FINE.replace(b"\n", b" "), np.uint8),
    "a line that never ends": np.full(100_000, ord("["), np.uint8),
    "deep nesting": store(b"[" * 8000 + b"]" * 8000, FINE),
    "not a number": store(b"[NaN]", FINE),
    "too many": store([1] * (MAX_IMAGES + 1), b"x" * (MAX_IMAGES + 1)),
    "too much": store([MAX_BYTES + 2**20], bytes(MAX_BYTES + 2**20)),
    "another size": store([len(png((8, 6)))], png((8, 6))),
    "a bomb": store([len(bomb(60_000, 60_000))], bomb(60_000, 60_000)),
    "a bomb beyond what is warned of": store([len(bomb(2**31 - 1, 2**31 - 1))], bomb(2**31 - 1, 2**31 - 1)),
    "pixels that are not there": store([len(bomb(6, 8))], bomb(6, 8)),
    "cut short": store([40], FINE[:40]),
    "an animated PNG": store([len(animated("PNG"))], animated("PNG")),
    "an animated WebP": store([len(animated("WEBP"))], animated("WEBP")),
    "another format": store([len(other("GIF"))], other("GIF")),
    "a format with an interpreter": store([30], b"%!PS-Adobe-3.0 EPSF-3.0\n".ljust(30)),
    "nothing": store([4], b"\0\0\0\0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_stranger_made_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ProfileError, match="its clean images are") as caught:
        clean_images(HOSTILE[name], SHAPE)
    assert "\n" not in str(caught.value)


def test_the_good_one_is_no_error() -> None:
    assert clean_images(store([len(FINE)], FINE), SHAPE).shape == (1, *SHAPE)
    # Of another mode, they are converted.
    for mode in ("L", "P", "RGBA", "1", "I;16"):
        assert clean_images(store([len(png(mode=mode))], png(mode=mode)), SHAPE).shape == (1, *SHAPE)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_are_images(content: bytes) -> None:
    try:
        images = clean_images(np.frombuffer(content, np.uint8), SHAPE)
    except ProfileError:
        return
    assert images.shape[1:] == SHAPE


@given(st.data())
def test_a_changed_byte_is_refused_or_still_images(data: st.DataObject) -> None:
    files = [encode_image(np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)) for seed in range(3)]
    content = join_images(files).copy()
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProfileError):
        assert clean_images(content, SHAPE).shape[1:] == SHAPE
