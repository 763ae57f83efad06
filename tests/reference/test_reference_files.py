"""Image sets as files: lossless, neutral names, and a truth that reads back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reference.attacks import Attack
from reference.datasets import ImageSet
from reference.files import TruthRow, mix, read_truth, write_class_folders, write_flat, write_truth
from reference.poisoning import next_class
from reference.triggers import square
from scanner.base.errors import SourceError

CLASSES = ("ant", "bee", "cat")


def pictures(count, channels=3, size=9):
    images = torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(0))
    return ImageSet(images.to(torch.uint8), torch.arange(count) % 3)


def read(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
    return torch.from_numpy(pixels.copy()).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_class_folders_hold_every_image_unchanged(tmp_path, channels):
    images = pictures(7, channels)
    write_class_folders(tmp_path / "ref", images, CLASSES)
    assert sorted(path.name for path in (tmp_path / "ref").iterdir()) == list(CLASSES)
    for index in range(7):
        path = tmp_path / "ref" / CLASSES[index % 3] / f"{index:06d}.png"
        assert torch.equal(read(path), images.images[index])
    assert len(list((tmp_path / "ref").glob("*/*.png"))) == 7


def test_writing_twice_gives_the_same_bytes(tmp_path):
    images = pictures(3).images
    assert write_flat(tmp_path / "a", images) == ["000000.png", "000001.png", "000002.png"]
    write_flat(tmp_path / "b", images)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_mixture_is_shuffled_and_its_truth_says_what_is_what(tmp_path):
    images, trigger = pictures(30), square(9, side=2)
    clean, triggered = torch.arange(0, 20), torch.arange(15, 30)
    mixture = mix(images, clean, triggered, Attack(trigger, next_class), CLASSES, seed=1)
    mixture.write(tmp_path / "inputs", tmp_path / "truth.csv")
    truth = read_truth(tmp_path / "truth.csv")
    assert truth == mixture.truth
    assert [row.file_name for row in truth] == [f"{index:06d}.png" for index in range(35)]
    assert sorted(path.name for path in (tmp_path / "inputs").iterdir()) == [row.file_name for row in truth]
    for row in truth:
        label = int(images.labels[row.source])
        expected = images.images[row.source : row.source + 1]
        assert row.true_label == CLASSES[label]
        assert row.attack_label == (CLASSES[(label + 1) % 3] if row.triggered else None)
        shown = read(tmp_path / "inputs" / row.file_name)
        assert torch.equal(shown, (trigger.apply(expected) if row.triggered else expected)[0])
    assert sorted(row.source for row in truth if not row.triggered) == clean.tolist()
    assert sorted(row.source for row in truth if row.triggered) == triggered.tolist()
    kinds = [row.triggered for row in truth]
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))
    assert mix(images, clean, triggered, Attack(trigger, next_class), CLASSES, seed=1).truth == truth
    assert mix(images, clean, triggered, Attack(trigger, next_class), CLASSES, seed=2).truth != truth


# No control characters: the csv module of Python 3.11 does not quote a carriage return.
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.lists(st.builds(TruthRow, names, st.booleans(), names, st.none() | names, st.integers(0, 9))))
def test_truth_reads_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    write_truth(path, rows)
    assert read_truth(path) == tuple(rows)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"file,kind\n",
        b"file_name,triggered,true_label,attack_label,source\na.png,perhaps,1,,0\n",
        b"file_name,triggered,true_label,attack_label,source\na.png,yes,1,2,first\n",
        b"file_name,triggered,true_label,attack_label,source\na.png\n",
        b"\xff\xfe\x00",
    ],
)
def test_another_file_is_no_truth_file(tmp_path, content):
    path = tmp_path / "truth.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is not a truth file"):
        read_truth(path)


def test_a_missing_truth_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"truth\.csv: cannot be read"):
        read_truth(tmp_path / "truth.csv")
