"""Synthetic features of several classes, and densities fitted to them."""

from __future__ import annotations

import numpy as np

from detectors.deep_features.density import Family
from detectors.deep_features.fit import fit_rows
from detectors.deep_features.grouping import ClassGroups, group_classes
from detectors.deep_features.scores import DescriptorDensity
from detectors.deep_features.settings import DensitySettings

CLASSES = 3


def make_data(seed: int = 0, count: int = 240, dim: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Correlated Gaussian features with class means, as float32."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    features = rng.normal(size=(count, dim)) @ mixing + 2.0 * rng.normal(size=(CLASSES, dim))[labels]
    return features.astype(np.float32), labels.astype(np.int64)


def groups_of(labels: np.ndarray, classes: int = CLASSES) -> ClassGroups:
    return group_classes(np.bincount(labels, minlength=classes))


def fit_all(
    family: Family, features: np.ndarray, labels: np.ndarray, retained: float = 0.995, classes: int = CLASSES
) -> DescriptorDensity:
    settings = DensitySettings(family, retained)
    return fit_rows(features, np.arange(len(labels)), labels, groups_of(labels, classes), settings)
