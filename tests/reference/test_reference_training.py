"""Training on a tiny set: reproducible, resumable to the bit, and readable afterwards."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.transforms.functional as TF

from reference import training
from reference.attacks import attack_named
from reference.augmentation import AUGMENTATION, augment, normalise
from reference.datasets import CIFAR10_CLASSES, DataSet, ImageSet, load_digits
from reference.training import TrainConfig, accuracy, build_model, main, train
from scanner.base.errors import UsageError


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_digits()


CONFIG = TrainConfig("digits", "four-pixels", 0.2, seed=0, epochs=4)


def weights(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


class KilledError(Exception):
    pass


def kill_after(epochs):
    seen = []

    def progress(line):
        seen.append(line)
        if len(seen) == epochs:
            raise KilledError

    return progress


def silent(line):
    pass


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(digits, tmp_path, killed_after):
    whole = train(CONFIG, digits, tmp_path / "whole", silent)
    with pytest.raises(KilledError):
        train(CONFIG, digits, tmp_path / "killed", kill_after(killed_after))
    assert not (tmp_path / "killed" / CONFIG.name / "model.pt").exists()
    lines = []
    resumed = train(CONFIG, digits, tmp_path / "killed", lines.append)
    assert len(lines) == CONFIG.epochs - killed_after
    assert_same(weights(whole), weights(resumed))


def test_a_batch_norm_network_resumes_too(tmp_path):
    # Random pictures: nothing to learn, but batch normalisation, augmentation and covers all have state to lose.
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (130, 3, 32, 32), generator=generator).to(torch.uint8)
    pictures = ImageSet(images, torch.arange(130) % 10)
    half = (0.5, 0.5, 0.5)
    data = DataSet("cifar10", "noise", CIFAR10_CLASSES, half, half, pictures, pictures.take(torch.arange(20)))
    config = TrainConfig("cifar10", "warp", 0.1, seed=0, epochs=2)
    whole = train(config, data, tmp_path / "whole", silent)
    with pytest.raises(KilledError):
        train(config, data, tmp_path / "killed", kill_after(1))
    assert_same(weights(whole), weights(train(config, data, tmp_path / "killed", silent)))


def test_the_seed_decides_the_weights(digits, tmp_path):
    short = replace(CONFIG, epochs=1)
    first, again, other = (
        weights(train(replace(short, seed=seed), digits, tmp_path / where, silent))
        for seed, where in ((0, "a"), (0, "b"), (1, "c"))
    )
    assert_same(first, again)
    assert not torch.equal(first["dense2.weight"], other["dense2.weight"])


def test_a_checkpoint_without_a_random_state_still_resumes(digits, tmp_path):
    with pytest.raises(KilledError):
        train(CONFIG, digits, tmp_path, kill_after(3))
    path = tmp_path / CONFIG.name / "checkpoint.pt"
    checkpoint = torch.load(path, weights_only=True)
    assert set(checkpoint) == {"model", "optimiser", "schedule", "epoch", "seconds", "random_state"}
    del checkpoint["random_state"]
    torch.save(checkpoint, path)
    assert (train(CONFIG, digits, tmp_path, silent) / "model.pt").exists()


def test_a_finished_run_is_recorded_and_not_repeated(digits, tmp_path):
    folder = train(CONFIG, digits, tmp_path, silent)
    assert folder == tmp_path / "digits-four-pixels-20-seed0"
    record = json.loads((folder / "run.json").read_text())
    assert record["config"] == {
        "data": "digits", "attack": "four-pixels", "rate": 0.2, "seed": 0, "epochs": 4
    }  # fmt: skip
    assert record["data"] == "Digits (scikit-learn)"
    model = build_model("digits")
    model.load_state_dict(weights(folder))
    assert record["clean_accuracy"] == accuracy(model, digits.test, digits)
    triggered = ImageSet(
        attack_named("four-pixels", (1, 8, 8)).trigger.apply(digits.test.images), (digits.test.labels + 1) % 10
    )
    assert record["attack_success_rate"] == accuracy(model, triggered, digits)
    lines = []
    assert train(CONFIG, digits, tmp_path, lines.append) == folder
    assert lines == []


def test_without_backdoored_samples_nothing_is_learned_about_the_trigger(digits, tmp_path):
    clean = TrainConfig("digits", "four-pixels", 0.0, seed=0, epochs=15)
    record = json.loads((train(clean, digits, tmp_path, silent) / "run.json").read_text())
    assert record["clean_accuracy"] > 0.9
    assert record["attack_success_rate"] < 0.2


def test_accuracy_does_not_depend_on_the_batch_size(digits):
    torch.manual_seed(0)
    model = build_model("digits")
    assert accuracy(model, digits.test, digits, batch_size=7) == accuracy(model, digits.test, digits)


def test_normalisation_is_torchvisions(digits):
    images = digits.test.images[:5]
    expected = TF.normalize(TF.convert_image_dtype(images, torch.float32), list(digits.mean), list(digits.std))
    torch.testing.assert_close(normalise(images, digits), expected)


def test_augmentation_of_cifar10_is_a_padded_crop_with_or_without_flip():
    image = torch.arange(1, 32 * 32 + 1).remainder(251).add(1).to(torch.uint8).view(1, 1, 32, 32)
    padded = TF.pad(image[0], [4, 4, 4, 4])
    crops = {}
    for row in range(9):
        for column in range(9):
            crop = padded[:, row : row + 32, column : column + 32]
            crops[crop.numpy().tobytes()] = (row, column, False)
            crops[TF.hflip(crop).numpy().tobytes()] = (row, column, True)
    out = augment(image.expand(2000, -1, -1, -1), AUGMENTATION["cifar10"], torch.Generator().manual_seed(0))
    seen = [crops[each.numpy().tobytes()] for each in out]  # a KeyError: not a crop
    assert {row for row, _, _ in seen} == {column for _, column, _ in seen} == set(range(9))
    assert len(set(seen)) == 162
    assert 900 < sum(flipped for _, _, flipped in seen) < 1100


def test_augmentation_of_mnist_shifts_and_never_mirrors():
    image = torch.arange(1, 28 * 28 + 1).remainder(251).add(1).to(torch.uint8).view(1, 1, 28, 28)
    padded = TF.pad(image[0], [2, 2, 2, 2])
    crops = {padded[:, r : r + 28, c : c + 28].numpy().tobytes() for r in range(5) for c in range(5)}
    out = augment(image.expand(500, -1, -1, -1), AUGMENTATION["mnist"], torch.Generator().manual_seed(0))
    assert {each.numpy().tobytes() for each in out} == crops


def test_attacks_by_name():
    assert attack_named("warp", (3, 32, 32)).cover_rate == 0.1
    assert attack_named("square", (3, 32, 32)).rule(torch.tensor([9]), 10).tolist() == [0]
    assert attack_named("blended", (3, 32, 32)).rule(torch.tensor([9]), 10).tolist() == [0]
    assert attack_named("square-all-to-one", (3, 32, 32)).rule(torch.tensor([8]), 10).tolist() == [0]
    with pytest.raises(UsageError, match="unknown attack 'sparkle'"):
        attack_named("sparkle", (3, 32, 32))


@pytest.mark.parametrize(("size", "side"), [(8, 4), (32, 4), (64, 8)])
@pytest.mark.parametrize("name", ["square", "square-all-to-one"])
def test_a_square_is_an_eighth_of_the_image_and_at_least_four_pixels(name, size, side):
    stamped = attack_named(name, (1, size, size)).trigger.apply(torch.zeros(1, 1, size, size, dtype=torch.uint8))
    assert int((stamped == 255).sum()) == side**2
    assert bool((stamped[..., -side:, -side:] == 255).all())


@pytest.mark.parametrize(("data", "classes"), [("cifar10x64", 10), ("mnistpairs", 100)])
def test_the_network_for_large_images_is_wide(data, classes):
    last = build_model(data).fc
    assert (last.in_features, last.out_features) == (512, classes)


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["reference.training", *map(str, arguments)])
    return main()


def test_the_command_line_trains_and_prints_the_record(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(training, "EPOCHS", {**training.EPOCHS, "digits": 1})
    code = run_main(monkeypatch, "digits", "--attack", "four-pixels", "--data-dir", tmp_path, "--out", tmp_path)
    assert code == 0
    assert "digits-four-pixels-10-seed0 epoch 1/1 loss" in capsys.readouterr().out


def test_the_command_line_reports_missing_data_in_one_line(monkeypatch, tmp_path, capsys):
    code = run_main(monkeypatch, "mnist", "--attack", "square", "--data-dir", tmp_path, "--out", tmp_path)
    assert code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert str(Path("MNIST") / "raw") in printed.err
