"""Data sets: the loaders against torchvision's on small generated files, and one line for damaged ones."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import datasets as official

from reference.datasets import (
    CIFAR10_CLASSES,
    DIGITS,
    enlarged,
    load,
    load_cifar10,
    load_digits,
    load_mnist,
    paired,
    stratified_split,
)
from scanner.base.errors import SourceError, UsageError


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 7), ("t10k", 4)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", rng.integers(0, 10, count, dtype=np.uint8))
    return tmp_path


def gzip_all(folder):
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("gzipped", [False, True])
def test_mnist_is_read_as_torchvision_reads_it(mnist, gzipped):
    expected = {split: official.MNIST(mnist, train=split == "train", download=False) for split in ("train", "test")}
    if gzipped:
        gzip_all(mnist / "MNIST" / "raw")
    data = load("mnist", mnist)
    for images, split in ((data.train, "train"), (data.test, "test")):
        assert torch.equal(images.images, expected[split].data[:, None])
        assert torch.equal(images.labels, expected[split].targets)
        assert images.images.dtype == torch.uint8
        assert images.labels.dtype == torch.int64
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "neither"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "does not fit its shape"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "does not fit its shape"),
        (lambda path: path.write_bytes(b""), "not an IDX file"),
        (lambda path: path.write_bytes(b"\0\0\x08\x03\0\0"), "not an IDX file"),
        (lambda path: path.write_bytes(b"hello, world, this is text"), "not an IDX file"),
        (lambda path: write_idx(path, np.zeros((3, 28, 28), np.uint8)), "3 train images but 7 labels"),
    ],
)
def test_damaged_mnist_is_one_line(mnist, damage, reason):
    damage(mnist / "MNIST" / "raw" / "train-images-idx3-ubyte")
    with pytest.raises(SourceError, match=reason) as failure:
        load_mnist(mnist)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "content", [b"not gzip at all", gzip.compress(bytes(5000), mtime=0)[:-20]], ids=["text", "cut"]
)
def test_damaged_gzip_is_one_line(mnist, content):
    raw = mnist / "MNIST" / "raw"
    gzip_all(raw)
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read"):
        load_mnist(mnist)


@pytest.fixture
def image_folder(tmp_path):
    rng = np.random.default_rng(1)
    for split, count in (("train", 2), ("test", 1)):
        for name in CIFAR10_CLASSES:
            folder = tmp_path / "cifar10" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path


def test_image_folder_is_read_as_torchvision_reads_it(image_folder):
    expected = official.ImageFolder(image_folder / "cifar10" / "train")
    data = load("cifar10", image_folder)
    assert data.title == "CIFAR-10 (image folder)"
    assert tuple(expected.classes) == data.classes
    assert data.train.labels.tolist() == expected.targets
    for (image, _), pixels in zip(expected, data.train.images, strict=True):
        np.testing.assert_array_equal(np.asarray(image), pixels.permute(1, 2, 0).numpy())
    assert len(data.test) == 10


def test_a_lossy_image_folder_is_named_so(image_folder):
    folder = image_folder / "cifar10" / "train" / "ship"
    Image.open(folder / "0.png").save(folder / "0.jpg", quality=75)
    assert load_cifar10(image_folder).title == "CIFAR-10 (JPEG)"


def test_enlarged_cifar10_is_resized_as_pillow_does(image_folder):
    small, large = load("cifar10", image_folder), load("cifar10x64", image_folder)
    assert (large.name, large.title) == ("cifar10x64", "CIFAR-10 (image folder), enlarged to 64x64")
    for before, after in ((small.train, large.train), (small.test, large.test)):
        assert torch.equal(after.labels, before.labels)
        for image, larger in zip(before.images, after.images, strict=True):
            expected = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((64, 64), Image.Resampling.BILINEAR)
            difference = np.asarray(expected).astype(int) - larger.permute(1, 2, 0).numpy().astype(int)
            assert np.abs(difference).max() <= 1  # Pillow computes with integers


def test_enlarging_does_not_depend_on_the_chunk(image_folder):
    data = load("cifar10", image_folder)
    assert torch.equal(enlarged(data, 64, chunk=7).train.images, enlarged(data, 64).train.images)


def test_pairs_are_two_digits_and_their_labels_say_which():
    digits = load_digits()
    pairs = paired(digits, side=20)
    assert (pairs.name, len(pairs.classes), pairs.classes[37]) == ("digitspairs", 100, "37")
    for before, after in ((digits.train, pairs.train), (digits.test, pairs.test)):
        assert after.images.shape == (len(before), 3, 20, 20)
        labelled = zip(before.images, before.labels, strict=True)
        known = {tuple(image.flatten().tolist()): int(label) for image, label in labelled}
        for image, label in zip(after.images[:50], after.labels[:50].tolist(), strict=True):
            assert bool((image == image[:1]).all())
            read = []
            for half in (image[0, :, 1:9], image[0, :, 11:19]):  # eight columns of ten, in the middle
                found = {known.get(tuple(half[top : top + 8].flatten().tolist())) for top in range(13)} - {None}
                assert len(found) == 1
                read.append(found.pop())
            assert 10 * read[0] + read[1] == label
            assert int((image[0] > 0).sum()) == int((image[0, :, 1:9] > 0).sum() + (image[0, :, 11:19] > 0).sum())
    pixels = pairs.train.images.double() / 255
    assert pairs.mean[0] == pytest.approx(float(pixels.mean()), abs=0.003)
    assert pairs.std[0] == pytest.approx(float(pixels.std()), abs=0.003)


def test_mnist_may_be_an_image_folder_too(tmp_path):
    rng = np.random.default_rng(2)
    pictures = {}
    for split in ("train", "test"):
        for name in DIGITS:
            folder = tmp_path / "mnist" / split / name
            folder.mkdir(parents=True)
            pictures[split, name] = rng.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pictures[split, name]).save(folder / "0.png")
    data = load("mnist", tmp_path)
    assert data.title == "MNIST (image folder)"
    assert data.train.images.shape == (10, 1, 28, 28)
    assert data.train.labels.tolist() == list(range(10))
    for label, name in enumerate(DIGITS):
        np.testing.assert_array_equal(data.test.images[label, 0].numpy(), pictures["test", name])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "0.png").write_bytes(b"text"), "is not an image"),
        (lambda folder: (folder / "0.png").write_bytes((folder / "1.png").read_bytes()[:200]), "cannot be read"),
        (lambda folder: Image.new("RGB", (16, 32)).save(folder / "0.png"), "is 16x32, not 32x32"),
        (lambda folder: folder.rename(folder.with_name("boats")), "cannot be read"),
    ],
)
def test_damaged_image_folder_is_one_line(image_folder, damage, reason):
    damage(image_folder / "cifar10" / "train" / "ship")
    with pytest.raises(SourceError, match=reason) as failure:
        load_cifar10(image_folder)
    assert "\n" not in str(failure.value)
    assert "ship" in str(failure.value)


def test_empty_class_folders_are_one_line(tmp_path):
    for name in CIFAR10_CLASSES:
        (tmp_path / "cifar10" / "train" / name).mkdir(parents=True)
    with pytest.raises(SourceError, match="no image"):
        load_cifar10(tmp_path)


def test_missing_cifar10_is_one_line(tmp_path):
    with pytest.raises(SourceError, match="neither cifar-10-batches-py nor"):
        load_cifar10(tmp_path)


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """Official-looking batches of three images, with the MD5 sums that torchvision is told to expect."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(2)

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    pixels = {name: rng.integers(0, 256, (3, 3072), dtype=np.uint8) for name in ("data_batch_1", "test_batch")}
    listed = {name: write(name, {"data": pixels[name], "labels": [3, 1, 9]}) for name in pixels}
    monkeypatch.setattr(official.CIFAR10, "train_list", [listed["data_batch_1"]])
    monkeypatch.setattr(official.CIFAR10, "test_list", [listed["test_batch"]])
    meta = write("batches.meta", {"label_names": list(CIFAR10_CLASSES)})
    monkeypatch.setattr(
        official.CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]}, raising=True
    )
    return tmp_path, pixels


def test_official_batches_are_planes_of_red_green_blue(batches):
    root, pixels = batches
    data = load_cifar10(root)
    assert data.title == "CIFAR-10"
    for images, name in ((data.train, "data_batch_1"), (data.test, "test_batch")):
        np.testing.assert_array_equal(images.images.numpy(), pixels[name].reshape(3, 3, 32, 32))
        assert images.labels.tolist() == [3, 1, 9]


def test_a_batch_with_another_checksum_is_never_unpickled(batches):
    root, _ = batches
    class_that_must_not_run = b"cbuiltins\nexit\n(I42\ntR."
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(class_that_must_not_run)
    with pytest.raises(SourceError, match="cannot be read"):
        load_cifar10(root)


def test_unknown_names_are_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="unknown data set 'imagenet'"):
        load("imagenet", tmp_path)


def test_digits_are_spread_over_all_grey_levels():
    from sklearn.datasets import load_digits as grey_levels

    data = load_digits()
    images = torch.cat((data.train.images, data.test.images))
    assert images.shape == (1797, 1, 8, 8)
    levels = torch.unique(images).tolist()
    assert levels == [round(level * 255 / 16) for level in range(17)]
    # The two parts are all of scikit-learn's images, each once.
    key = {image.tobytes() for image in images.numpy()}
    source = grey_levels().images
    assert key == {
        np.array([[round(v * 255 / 16) for v in row] for row in image], np.uint8).tobytes() for image in source
    }
    pixels = images.double() / 255
    assert data.mean[0] == pytest.approx(pixels.mean().item(), abs=5e-5)
    assert data.std[0] == pytest.approx(pixels.std().item(), abs=5e-5)


labels_and_seed = st.tuples(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(0, 9))


@given(labels_and_seed, st.sampled_from([0.0, 0.25, 0.4, 0.5, 1.0]))
def test_stratified_split_is_a_partition_with_equal_proportions(labels_seed, share):
    labels, seed = torch.tensor(labels_seed[0]), labels_seed[1]
    first, second = stratified_split(labels, share, seed)
    assert sorted(first.tolist() + second.tolist()) == list(range(len(labels)))
    assert first.tolist() == sorted(first.tolist())
    for label in set(labels.tolist()):
        count = int((labels == label).sum())
        assert int((labels[first] == label).sum()) == int(share * count)
    again, _ = stratified_split(labels, share, seed)
    assert torch.equal(first, again)


def test_stratified_split_depends_on_the_seed():
    labels = torch.arange(100) % 5
    assert not torch.equal(stratified_split(labels, 0.5, 0)[0], stratified_split(labels, 0.5, 1)[0])
