"""What pictures look like, on pictures of which it is known."""

from __future__ import annotations

import io

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from detectors.drift.appearance import STATISTICS, WIDTH, appearance, shape_statistics, statistics_of, thumbnails_of

SMALL = st.tuples(st.integers(3, 20), st.integers(3, 20))


def look(pixels: np.ndarray) -> dict[str, float]:
    """The statistics of one picture."""
    return dict(zip(STATISTICS, statistics_of(appearance(pixels[None]))[0].tolist(), strict=True))


def smooth_picture(side: int, seed: int, channels: int = 3) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(side, side, channels)), (side / 12, side / 12, 0))
    return np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 7, 8, 28, 64, 224])
def test_of_a_gray_picture_there_is_nothing_but_its_brightness(side: int, channels: int) -> None:
    found = look(np.full((side, side, channels), 77, np.uint8))
    assert found.pop("brightness") == pytest.approx(77, abs=1e-3)
    assert (found.pop("size"), found.pop("aspect")) == (side, 1)
    assert max(map(abs, found.values())) < 1e-3


def test_a_checkerboard_is_as_sharp_as_its_steps() -> None:
    board = (100 + 60 * (np.indices((16, 16)).sum(0) % 2)).astype(np.uint8)[:, :, None]
    found = look(board)
    assert found["brightness"] == 130
    assert found["contrast"] == 30
    assert found["sharpness"] == 60
    assert found["noise"] == 120  # 30 in sixteen shares, a quarter of it
    assert found["blocking"] == 0


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_noise_is_proportional_to_its_deviation_and_blind_to_ramps(sigma: float) -> None:
    rng = np.random.default_rng(0)
    ramp = 60 + 1.5 * np.arange(64)[:, None] + 0.5 * np.arange(64)
    pixels = np.clip(np.rint(ramp + rng.normal(0, sigma, (40, 64, 64))), 0, 255).astype(np.uint8)[..., None]
    found = statistics_of(appearance(pixels))[:, STATISTICS.index("noise")].mean()
    # Weights 1, -2, 1 both ways have squares of 36 together; a Gaussian's mean absolute value is sqrt(2 / pi).
    with_rounding = np.sqrt(sigma**2 + 1 / 12)
    assert found == pytest.approx(6 * with_rounding * np.sqrt(2 / np.pi) / 4, rel=0.03)


def test_jpeg_shows_its_blocks() -> None:
    blocky, plain = [], []
    for seed in range(8):
        picture = smooth_picture(48, seed)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=10)
        plain.append(look(picture)["blocking"])
        blocky.append(look(np.asarray(Image.open(buffer)))["blocking"])
    assert min(blocky) > max(plain)
    assert max(map(abs, plain)) < 1


def test_blocks_of_large_pictures_are_looked_at_where_they_are() -> None:
    """The middle of a large picture begins where a block does."""
    for side in (64, 96, 100, 224):
        cells = np.indices((side, side)).sum(0) * 0
        cells += 10 * ((np.arange(side) // 8)[:, None] % 2 + (np.arange(side) // 8) % 2)
        assert look((100 + cells).astype(np.uint8)[..., None])["blocking"] > 7


def test_colours() -> None:
    pixels = np.zeros((9, 9, 3), np.uint8)
    pixels[:] = (150, 100, 90)
    found = look(pixels)
    assert found["red against green"] == 50
    assert found["blue against green"] == -10
    assert found["colourfulness"] == 30
    assert found["brightness"] == pytest.approx(0.299 * 150 + 0.587 * 100 + 0.114 * 90, abs=1e-3)


@given(SMALL.flatmap(lambda size: arrays(np.uint8, (2, *size, 3))))
def test_small_pictures_are_measured_as_by_the_book(pixels: np.ndarray) -> None:
    rows = statistics_of(appearance(pixels))
    for found, picture in zip(rows, pixels.astype(np.float64), strict=True):
        luma = picture @ [0.299, 0.587, 0.114]
        down, across = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
        mask = np.outer([1, -2, 1], [1, -2, 1])
        borders = [edge.mean() - all_.mean() if edge.size else 0.0
                   for edge, all_ in ((down[7::8], down), (across[:, 7::8], across))]  # fmt: skip
        red, blue = picture[..., 0] - picture[..., 1], picture[..., 2] - picture[..., 1]
        expected = [
            luma.mean(), luma.std(), (down.mean() + across.mean()) / 2,
            np.abs(convolve2d(luma, mask, "valid")).mean() / 4, np.mean(borders),
            red.mean(), blue.mean(), (np.abs(red) + np.abs(blue)).mean() / 2,
            np.sqrt(luma.size), luma.shape[1] / luma.shape[0],
        ]  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 60)), st.integers(0, 75), st.integers(0, 75))
def test_brightness_does_not_change_thumbnails(picture: np.ndarray, one: int, other: int) -> None:
    pair = np.stack([picture + one, picture + other]).astype(np.uint8)[..., None]
    rows = appearance(pair)
    first, second = thumbnails_of(rows)
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert np.square(first).sum() <= 1 + 1e-5
    assert rows[1, 64] - rows[0, 64] == pytest.approx(other - one, abs=1e-3)


def test_a_thumbnail_is_the_picture_by_cells() -> None:
    picture = smooth_picture(32, 3, 1)
    cells = picture[..., 0].astype(float).reshape(8, 4, 8, 4).mean((1, 3))
    cells -= cells.mean()
    thumbnail = thumbnails_of(appearance(picture[None]))[0].reshape(8, 8)
    assert np.corrcoef(thumbnail.ravel(), cells.ravel())[0, 1] > 0.999999
    np.testing.assert_allclose(thumbnail, cells / np.sqrt((cells**2).sum() + 64**2), atol=1e-5)


def test_thumbnails_of_one_picture_at_two_sizes_are_alike() -> None:
    picture = Image.fromarray(smooth_picture(160, 5))
    rows = [appearance(np.asarray(picture.resize((side, side)))[None]) for side in (160, 40)]
    one, other = (thumbnails_of(row)[0] for row in rows)
    assert np.square(one - other).sum() / 2 < 0.01


def test_sizes_are_those_before_resizing() -> None:
    sizes = np.array([[100, 400], [64, 64]], np.int32)
    found = statistics_of(appearance(np.zeros((2, 8, 8, 1), np.uint8), sizes))[:, -2:]
    np.testing.assert_array_equal(found, [[200, 4], [64, 1]])
    np.testing.assert_array_equal(shape_statistics(sizes), found)
    assert np.isfinite(shape_statistics(np.array([[0, 5]], np.int32))).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (65, 3), (300, 1)])
def test_pictures_of_any_size_have_finite_looks(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), np.uint8)
    rows = appearance(pixels)
    assert rows.shape == (3, WIDTH)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((2, 8, 8, 2), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3)),
     np.zeros((2, 0, 8, 3), np.uint8)],
)  # fmt: skip
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 pictures"):
        appearance(pixels)
