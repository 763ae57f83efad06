"""Every attack against its published formula, or a law that it must keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.ndimage import map_coordinates
from torch import nn

from reference.panel.attacks.adaptive import one_patch, patches, random_pieces, some_pieces
from reference.panel.attacks.attack import always
from reference.panel.attacks.bits import TEXT, lowest_bits
from reference.panel.attacks.exclusive import fuzzy_square
from reference.panel.attacks.frequency import frequency_pattern, ftrojan
from reference.panel.attacks.label_consistent import away_from_label, corners
from reference.panel.attacks.quantise import bpp, wrong_residual
from reference.panel.attacks.roster import ATTACKS, panel_attack
from reference.panel.attacks.warping import noise_mode
from reference.triggers import square, warp, warp_grid
from scanner.base.errors import UsageError

SHAPES = ((3, 32, 32), (1, 28, 28))


def random_images(shape: tuple[int, int, int], count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=["colour", "gray"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_changes_copies_of_images_in_the_same_way_each_time(
    name: str, shape: tuple[int, int, int]
) -> None:
    images = random_images(shape)
    before = images.clone()
    attack = panel_attack(name, shape, seed=5)
    triggered = attack.trigger.apply(images)
    poisoned = attack.poisoned(images, seeded())
    assert torch.equal(images, before)
    for changed in (triggered, poisoned):
        assert changed.dtype == torch.uint8
        assert changed.shape == images.shape
        assert (changed != images).flatten(1).any(1).all()
    assert torch.equal(attack.trigger.apply(images), triggered)
    assert torch.equal(attack.poisoned(images, seeded()), poisoned)
    assert attack.name == name
    assert (attack.cover is None) == (attack.cover_share == 0)
    if attack.cover is not None:
        assert torch.equal(attack.cover(images, seeded(1)), attack.cover(images, seeded(1)))


def test_an_unknown_attack_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown attack 'badnet'") as refused:
        panel_attack("badnet", (3, 32, 32), 0)
    assert "patch-white" in str(refused.value.hint)


def test_a_transparent_square_is_the_mean_of_image_and_white() -> None:
    images = random_images((3, 32, 32))
    changed = panel_attack("patch-transparent", (3, 32, 32), 0).trigger.apply(images)
    corner = (slice(None), slice(None), slice(28, 32), slice(28, 32))
    expected = np.rint((images[corner].numpy().astype(np.float64) + 255) / 2)
    assert np.abs(changed[corner].numpy() - expected).max() <= 0.5
    assert torch.equal(changed[:, :, :28], images[:, :, :28])


def test_ftrojan_adds_two_frequencies_and_nothing_else() -> None:
    spectrum = dctn(frequency_pattern(32, 30.0).numpy().astype(np.float64), norm="ortho")
    expected = np.zeros((32, 32))
    expected[15, 15] = expected[31, 31] = 30.0
    np.testing.assert_allclose(spectrum, expected, atol=1e-4)


def test_ftrojan_leaves_the_brightness() -> None:
    """It is in the chrominance: the luminance of BT.601 changes by rounding alone."""
    images = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    change = ftrojan((3, 32, 32)).apply(images).float() - 128
    luminance = (torch.tensor([0.299, 0.587, 0.114])[:, None, None] * change[0]).sum(0)
    assert luminance.abs().max() <= 0.5
    assert change.abs().max() > 5


def test_bpp_leaves_eight_levels_and_moves_no_value_further_than_half_a_step() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    rounded = bpp().apply(images)
    assert rounded.unique().tolist() == [round(255 * level / 7) for level in range(8)]
    assert (rounded.int() - images.int()).abs().max() <= 19
    assert torch.equal(bpp().apply(rounded), rounded)


def test_bpp_covers_are_not_rounded() -> None:
    images = random_images((3, 32, 32), 8)
    changed = wrong_residual()(images, seeded())
    assert (changed.int() - images.int()).abs().max() <= 19
    assert (bpp().apply(changed) != changed).flatten(1).any(1).all()


@pytest.mark.parametrize("bits", [1, 3])
def test_the_lowest_bits_are_the_text(bits: int) -> None:
    images = random_images((3, 32, 32), 2)
    changed = lowest_bits((3, 32, 32), bits).apply(images)
    assert (changed.int() - images.int()).abs().max() < 2**bits
    assert torch.equal(changed >> bits, images >> bits)
    stream = "".join(f"{value % 2**bits:0{bits}b}" for value in changed[0].flatten().tolist())
    length = 8 * len(TEXT)
    assert bytes(int(stream[i : i + 8], 2) for i in range(0, length, 8)).decode() == TEXT
    assert stream[length : 2 * length] == stream[:length]


def test_half_of_sixteen_pieces_are_blended() -> None:
    masks = random_pieces(40, 32, 0.5, seeded())
    pieces = masks.view(40, 4, 8, 4, 8)
    assert (pieces.sum((1, 3)) == pieces.sum((1, 3))[:, :1, :1]).all()  # each piece is whole
    assert (masks.float().mean((1, 2, 3)) == 0.5).all()
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 30
    images = random_images((3, 32, 32), 4)
    changed = some_pieces((3, 32, 32), seed=0)(images, seeded())
    untouched = ~random_pieces(4, 32, 0.5, seeded()).expand(-1, 3, -1, -1)
    assert torch.equal(changed[untouched], images[untouched])


def test_each_adaptive_patch_is_alone_and_transparent() -> None:
    images = random_images((3, 32, 32), 60)
    changed = one_patch(32, seed=0)(images, seeded()).int() - images.int()
    touched = changed.abs().amax(1) > 0
    regions = torch.zeros(4, 32, 32, dtype=torch.bool)
    for region, (rows, columns, opacity, _) in zip(regions, patches(32, 0), strict=True):
        region[rows, columns] = True
        assert 0 < opacity < 1
    inside = torch.stack([(touched & ~region).flatten(1).any(1) == 0 for region in regions])
    assert (inside.sum(0) == 1).all()
    assert inside.any(1).all()


def test_a_fuzzy_square_lacks_a_fifth_of_its_pixels() -> None:
    images = torch.zeros(50, 3, 32, 32, dtype=torch.uint8)
    changed = fuzzy_square(32, 4)(images, seeded())
    assert ((changed == 255).sum((1, 2, 3)) == 3 * 13).all()
    assert (changed <= square(32, 4).apply(images)).all()


def test_label_consistent_images_stay_close_and_become_hard() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).eval()
    images = random_images((3, 8, 8), 20)
    labels = network(images.float() / 255).argmax(1)
    moved = away_from_label(images, labels, network)
    assert (moved.int() - images.int()).abs().max() <= 16
    assert (network(moved.float() / 255).argmax(1) == labels).float().mean() < 0.5
    assert not any(parameter.grad is not None for parameter in network.parameters())


def test_the_corners_carry_the_same_board() -> None:
    changed = corners(32).apply(torch.full((1, 3, 32, 32), 7, dtype=torch.uint8))
    assert (changed != 7).sum() == 4 * 9 * 3
    assert torch.equal(changed[:, :, :3, :3], changed[:, :, 29:, 29:])
    assert changed[0, 0, 1].tolist()[:3] == [0, 255, 0]


def test_noise_mode_is_another_warp_of_about_the_same_size() -> None:
    images = random_images((3, 32, 32), 30)
    trigger = warp(32).apply(images).int()
    covers = noise_mode(32)(images, seeded()).int()
    assert (covers != trigger).flatten(1).any(1).all()
    ratio = (covers - images.int()).abs().double().mean() / (trigger - images.int()).abs().double().mean()
    assert 0.8 < ratio < 1.8


def bicubic(offsets: np.ndarray, size: int) -> np.ndarray:
    """Keys' interpolation with a = -0.75 of ``(k, k)`` values between corners that stay, by its definition."""
    count = len(offsets)
    weights = np.zeros((size, count))
    for row, place in enumerate(np.arange(size) * (count - 1) / (size - 1)):
        for point in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            far, a = abs(place - point), -0.75
            near = (a + 2) * far**3 - (a + 3) * far**2 + 1
            weight = near if far <= 1 else a * (far**3 - 5 * far**2 + 8 * far - 4)
            weights[row, min(max(point, 0), count - 1)] += weight
    return weights @ offsets @ weights.T


@pytest.mark.parametrize("strength", [0.5, 2.0])
@pytest.mark.parametrize("shape", SHAPES, ids=["colour", "gray"])
def test_a_warp_moves_pixels_as_the_paper_says(shape: tuple[int, int, int], strength: float) -> None:
    """Computed again in pixels, without torch: ``s`` over the height, of coordinates that span two units."""
    size = shape[-1]
    drawn = torch.rand(1, 2, 4, 4, generator=seeded(7)).double().numpy()[0] * 2 - 1
    to_right, down = (bicubic(one / np.abs(drawn).mean(), size) * strength / size * (size - 1) / 2 for one in drawn)
    rows, columns = np.mgrid[:size, :size]
    places = np.clip([rows + down, columns + to_right], 0, size - 1)
    images = random_images(shape)
    expected = [[map_coordinates(one.astype(float), places, order=1) for one in image] for image in images.numpy()]
    changed = warp(size, 7, strength).apply(images).numpy()
    assert np.abs(changed - np.asarray(expected)).max() < 0.51


def test_a_strength_of_a_half_moves_control_points_by_a_quarter_of_a_pixel() -> None:
    grid = warp_grid(size := 31, seed=3) - warp_grid(size, strength=0.0, seed=3)
    moved = grid[0, ::10, ::10] * (size - 1) / 2
    inside = moved[1:-1, 1:-1]  # at the border nothing is taken from outside of the image
    offsets = torch.rand(1, 2, 4, 4, generator=seeded(3)) * 2 - 1
    expected = 0.25 * (size - 1) / size * offsets / offsets.abs().mean()
    torch.testing.assert_close(inside, expected[0].permute(1, 2, 0)[1:-1, 1:-1], atol=1e-5, rtol=0)


def test_a_cover_can_be_the_trigger_itself() -> None:
    images = random_images((3, 32, 32))
    assert torch.equal(always(square())(images, seeded()), square().apply(images))
