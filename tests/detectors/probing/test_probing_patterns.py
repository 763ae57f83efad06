"""Patterns: what each does to pixels, against formulas written anew, and what holds of all of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.fft import idctn

from detectors.probing.blend import Blend
from detectors.probing.catalogue import library
from detectors.probing.patch import LARGEST, Patch
from detectors.probing.probe import FAMILIES, Probe, Shape
from detectors.probing.warp import Warp
from detectors.probing.waves import Cosine, Wave

SHAPES = (Shape(8, 8, 1), Shape(28, 28, 1), Shape(32, 48, 3))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_pattern_changes_pictures_the_same_way_each_time_and_leaves_the_given_ones_alone(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (2, shape.height, shape.width, shape.channels), np.uint8)
    kept = pixels.copy()
    probes = library(shape)
    assert len(set(probes)) == len(probes)
    assert {probe.family for probe in probes} == set(FAMILIES)
    for probe in probes:
        once = probe.stamp(pixels)
        assert isinstance(probe, Probe)
        assert once.dtype == np.uint8
        assert once.shape == pixels.shape
        assert (once != pixels).any()
        assert np.array_equal(once, probe.stamp(pixels))
        # One picture at a time comes to the same as several.
        assert np.array_equal(once[1:], probe.stamp(pixels[1:]))
    assert np.array_equal(pixels, kept)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_neighbours_are_others_that_fit_the_picture(shape):
    pixels = np.zeros((1, shape.height, shape.width, shape.channels), np.uint8)
    for probe in library(shape):
        near = probe.neighbours(shape)
        assert probe not in near
        assert len(set(near)) == len(near)
        for one in near:
            assert one.stamp(pixels).shape == pixels.shape
            assert one.family == probe.family
            assert 0 <= one.area(shape) <= max(LARGEST**2, 9 / (shape.height * shape.width)) + 1e-9


def test_a_patch_hides_its_square_and_nothing_else():
    pixels = np.random.default_rng(1).integers(1, 255, (3, 20, 24, 3), np.uint8)
    for texture in ("white", "noise", "chequered", "yellow"):
        stamped = Patch(5, 2, 7, texture).stamp(pixels)
        outside = np.ones((20, 24), bool)
        outside[2:7, 7:12] = False
        assert np.array_equal(stamped[:, outside], pixels[:, outside])
        assert (stamped == stamped[:1]).all(0)[~outside].all()
    assert Patch(5, 2, 7, "yellow").stamp(pixels)[0, 3, 8].tolist() == [255, 255, 0]


def test_cosines_are_those_of_the_transform():
    coefficients = np.zeros((16, 16))
    coefficients[3, 5] = 1.0
    expected = idctn(coefficients, norm=None)
    expected *= 20.0 / np.abs(expected).max() * np.abs(np.cos(np.pi * 3 * (np.arange(16) + 0.5) / 16)).max()
    expected *= np.abs(np.cos(np.pi * 5 * (np.arange(16) + 0.5) / 16)).max()
    found = Cosine(3, 5, 20.0).stamp(np.full((1, 16, 16, 1), 100, np.uint8))[0, :, :, 0].astype(float) - 100
    assert np.abs(found - expected).max() <= 0.51


def test_a_wave_has_its_periods():
    found = Wave(0, 3, 0, 20.0).stamp(np.full((1, 24, 24, 1), 100, np.uint8))[0, 0, :, 0].astype(float)
    spectrum = np.abs(np.fft.rfft(found - found.mean()))
    assert spectrum.argmax() == 3
    assert spectrum[3] == pytest.approx(20 * 12, rel=0.02)


def test_a_blend_is_the_weighted_mean_with_the_same_noise():
    black, white = (np.full((1, 8, 8, 1), level, np.uint8) for level in (0, 255))
    probe = Blend(2, 0.25, 7)
    low, high = (probe.stamp(pixels).astype(float) for pixels in (black, white))
    assert np.abs(high - low - 0.75 * 255).max() <= 1
    assert np.array_equal(low[:, ::2, ::2], low[:, 1::2, 1::2])


def test_a_warp_is_what_grid_sampling_gives():
    pixels = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 1), np.uint8)
    probe = Warp(2, 1.5, 5)
    drawn = np.random.default_rng((5, 2)).uniform(-1, 1, (2, 2, 2))
    drawn *= 1.5 / np.abs(drawn).mean()
    place = np.linspace(0, 1, 12)
    smooth = place * place * (3 - 2 * place)
    rows, columns = smooth[:, None], smooth[None]
    field = sum(
        drawn[:, p, q][:, None, None] * (rows if p else 1 - rows) * (columns if q else 1 - columns)
        for p in (0, 1)
        for q in (0, 1)
    )
    y = np.clip(np.arange(12)[:, None] + field[0], 0, 11)
    x = np.clip(np.arange(12)[None] + field[1], 0, 11)
    grid = torch.from_numpy(np.stack([x, y], -1) / 5.5 - 1).float()[None].expand(2, -1, -1, -1)
    expected = F.grid_sample(torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), grid, align_corners=True)
    assert np.abs(expected.permute(0, 2, 3, 1).numpy() - probe.stamp(pixels)).max() <= 0.52


def test_patches_lie_on_the_whole_picture():
    shape = Shape(32, 32, 3)
    covered = Counter(
        (row, column)
        for probe in library(shape)
        if isinstance(probe, Patch) and probe.texture == "white"
        for row in range(probe.row, probe.row + probe.side)
        for column in range(probe.column, probe.column + probe.side)
    )
    assert len(covered) == 32 * 32


@pytest.mark.parametrize("shape", [*SHAPES, Shape(18, 18, 1), Shape(224, 224, 3)], ids=str)
def test_patches_are_large_enough_for_a_texture_and_hide_little_of_large_pictures(shape):
    patches = [probe for probe in library(shape) if isinstance(probe, Patch)]
    for patch in patches:
        assert patch.side >= 3
        assert patch.area(shape) < 0.03 or patch.side == 3
        for near in patch.neighbours(shape):
            assert near.side <= max(3, round(LARGEST * shape.shorter))


@pytest.mark.parametrize("size", [8, 12, 28])
def test_some_patch_covers_four_pixels_that_do_not_touch(size):
    """The trigger of BadNets on digits is no square: three of its four pixels are white in some chequered patch."""
    shape = Shape(size, size, 1)
    trigger = [(size - 2, size - 2), (size - 3, size - 3), (size - 2, size - 4), (size - 4, size - 2)]
    chequered = [probe for probe in library(shape) if isinstance(probe, Patch) and probe.texture == "chequered"]
    tried = {one for probe in chequered for one in (probe, *probe.neighbours(shape))}
    black = np.zeros((1, size, size, 1), np.uint8)
    assert max(sum(int(one.stamp(black)[0, row, column, 0] == 255) for row, column in trigger) for one in tried) >= 3


def test_pictures_that_nothing_fits_on_are_refused():
    with pytest.raises(ValueError, match="8x8"):
        Shape(7, 32, 3)
    with pytest.raises(ValueError, match="1 or 3"):
        Shape(32, 32, 4)
