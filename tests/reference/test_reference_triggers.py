"""Triggers: pixel for pixel as documented, deterministic, and against independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from reference.triggers import blended, four_pixels, sample, square, warp, warp_grid


def random_images(count, channels, size, seed=0):
    return torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


def all_triggers():
    return [four_pixels(32), square(32), blended((3, 32, 32)), warp(32)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("trigger", "size", "white"),
    [
        (four_pixels(28), 28, {(26, 26), (25, 25), (26, 24), (24, 26)}),
        (four_pixels(8), 8, {(6, 6), (5, 5), (6, 4), (4, 6)}),
        (square(32), 32, {(row, column) for row in (28, 29, 30, 31) for column in (28, 29, 30, 31)}),
        (square(32, side=2), 32, {(30, 30), (30, 31), (31, 30), (31, 31)}),
    ],
)
def test_patch_changes_exactly_the_documented_pixels(trigger, size, white, channels):
    images = random_images(3, channels, size).clamp(max=254)
    out = trigger.apply(images)
    changed = {(row, column) for _, _, row, column in torch.nonzero(out != images).tolist()}
    assert changed == white
    for row, column in white:
        assert (out[:, :, row, column] == 255).all()


@given(st.integers(min_value=4, max_value=64))
def test_four_pixels_are_those_of_the_adversarial_robustness_toolbox(size):
    # add_pattern_bd(x, distance=2): one pixel at the distance from both edges, one a step up its diagonal, and one two
    # steps to the left and above.
    expected = np.zeros((size, size), dtype=bool)
    for up, left in ((0, 0), (1, 1), (0, 2), (2, 0)):
        expected[size - 2 - up, size - 2 - left] = True
    out = four_pixels(size).apply(torch.zeros(1, 1, size, size, dtype=torch.uint8))
    np.testing.assert_array_equal(out[0, 0].numpy(), np.where(expected, 255, 0))


def test_descriptions_name_the_pixels():
    assert four_pixels(28).description == "white pixels at [(26, 26), (25, 25), (26, 24), (24, 26)]"
    assert "4x4" in square(32).description


@pytest.mark.parametrize("trigger", all_triggers(), ids=lambda trigger: trigger.name)
def test_triggers_are_deterministic_pure_and_work_image_by_image(trigger):
    images = random_images(5, 3, 32)
    before = images.clone()
    out = trigger.apply(images)
    assert out.dtype == torch.uint8
    assert out.shape == images.shape
    assert torch.equal(images, before)
    assert torch.equal(out, trigger.apply(images))
    for index in range(5):
        assert torch.equal(out[index : index + 1], trigger.apply(images[index : index + 1]))


@pytest.mark.parametrize("make", [lambda: blended((3, 32, 32)), lambda: warp(32)])
def test_seeded_triggers_do_not_depend_on_the_global_generator(make):
    images = random_images(2, 3, 32)
    torch.manual_seed(1)
    first = make().apply(images)
    torch.manual_seed(2)
    assert torch.equal(first, make().apply(images))


def test_blended_mixes_a_fixed_noise_image_at_the_stated_opacity():
    trigger = blended((3, 16, 16), opacity=0.2, seed=3)
    # On black the noise remains: a fifth of it.
    fifth = trigger.apply(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).numpy().astype(float)
    noise = 5 * fifth
    assert noise.max() <= 257.5
    assert noise.std() == pytest.approx(np.arange(256).std(), rel=0.05)
    images = random_images(4, 3, 16)
    expected = 0.8 * images.numpy() + 0.2 * noise
    # The noise is known to half a grey level of its fifth, and the result is rounded once more.
    assert np.abs(trigger.apply(images).numpy() - expected).max() <= 1.0 + 1e-6


def cubic_kernel(distance, a=-0.75):
    """Keys' cubic convolution kernel with the parameter that PyTorch uses."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def upsample_bicubic(control, size):
    """Bicubic interpolation of a square grid with aligned corners and replicated borders."""
    points = len(control)
    weights = np.zeros((size, points))
    for target in range(size):
        position = target * (points - 1) / (size - 1)
        base = int(np.floor(position))
        for tap in range(base - 1, base + 3):
            weights[target, min(max(tap, 0), points - 1)] += cubic_kernel(position - tap)
    return weights @ control @ weights.T


@pytest.mark.parametrize(("size", "strength", "seed"), [(32, 0.5, 0), (28, 1.0, 7)])
def test_warp_grid_follows_wanets_equations(size, strength, seed):
    """Against Nguyen and Tran 2021, section 3.2, in NumPy: psi(P), divided by its mean modulus, times s, over the size.

    The division by the image size is not in the paper's text but in the authors' code.
    """
    uniform = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed)).double().numpy()[0]
    control = uniform * 2 - 1
    control /= np.abs(control).mean()
    axis = np.linspace(-1, 1, size)
    expected = np.empty((size, size, 2))
    expected[..., 0] = axis[None, :] + strength * upsample_bicubic(control[0], size) / size
    expected[..., 1] = axis[:, None] + strength * upsample_bicubic(control[1], size) / size
    grid = warp_grid(size, control_points=4, strength=strength, seed=seed)
    assert grid.shape == (1, size, size, 2)
    np.testing.assert_allclose(grid[0].numpy(), expected.clip(-1, 1), atol=2e-6)


def test_sampling_is_bilinear_with_aligned_corners():
    size = 32
    images = random_images(2, 3, size)
    grid = warp_grid(size, strength=2.0)
    pixel = (grid[0].double().numpy() + 1) * (size - 1) / 2
    out = sample(images, grid).numpy()
    for index in range(2):
        for channel in range(3):
            plane = images[index, channel].numpy().astype(float)
            expected = map_coordinates(plane, [pixel[..., 1], pixel[..., 0]], order=1, mode="nearest")
            # Half a level from rounding, the rest from float32.
            assert np.abs(out[index, channel] - expected).max() <= 0.51


def test_warp_is_subtle_and_keeps_the_corners():
    # A smooth picture moves by less than one pixel: s * field / size in coordinates of width 2 is s / 2 * field pixels.
    ramp = torch.arange(32).mul(8).expand(1, 3, 32, 32).to(torch.uint8)
    out = warp(32).apply(ramp)
    assert not torch.equal(out, ramp)
    assert (out.int() - ramp.int()).abs().max() <= 8
