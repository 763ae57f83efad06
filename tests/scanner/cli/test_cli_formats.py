"""The product's first line, as it is written: a file of weights, clean images, nothing else."""

import importlib.util
import json
import tarfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import torch

Cli = Callable[..., CompletedProcess[str]]


def test_fit_and_scan_weights_without_naming_the_network(demo_files: Path, tmp_path: Path, cli: Cli) -> None:
    vendor = torch.load(demo_files / "vendor" / "model.pt", weights_only=True)["state_dict"]
    torch.save({"model": vendor, "args": Namespace(lr=0.1), "best": np.float64(0.98)}, tmp_path / "suspect.pt")
    (tmp_path / "preprocessor_config.json").write_bytes((demo_files / "vendor/preprocessor_config.json").read_bytes())
    fitted = cli("fit", "suspect.pt", "--clean", demo_files / "ref", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    assert "inferred architecture 'scnn'" in " ".join(fitted.stderr.split())
    assert "skipped objects of argparse.Namespace" in " ".join(fitted.stderr.split())
    scanned = cli("scan", demo_files / "inputs", "--report", "out.json", cwd=tmp_path)
    assert scanned.returncode == 1, scanned.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["verdict"]["severity"] == "critical"
    assert report["model"]["architecture"] == "scnn"


def test_inspect_names_the_network_and_its_tensors(demo_files: Path, cli: Cli) -> None:
    shown = cli("inspect", demo_files / "vendor" / "model.pt")
    assert shown.returncode == 0, shown.stderr
    assert "network      inferred architecture 'scnn'" in shown.stdout
    assert ["tensor", "conv2.weight", "64x32x3x3", "float32"] in [line.split() for line in shown.stdout.splitlines()]
    assert not any(line.startswith("member") for line in shown.stdout.splitlines())


def test_a_scan_that_finds_no_image_says_what_it_knows(demo_profile: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.xyz").write_bytes(b"?")
    done = cli("scan", tmp_path / "in", "--profile", demo_profile)
    assert done.returncode == 3
    said = " ".join(done.stderr.split())
    assert "no image among 1 entries; known are .csv" in said
    assert ".jfif" in said


def test_images_of_which_none_can_be_read_say_why(demo_files: Path, tmp_path: Path, cli: Cli) -> None:
    for number in range(40):
        folder = tmp_path / "ref" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.heic").write_bytes(b"\0\0\0\x1cftypheic" + bytes(60))
    model = demo_files / "vendor" / "model.pt"
    done = cli("fit", model, "--clean", tmp_path / "ref", "--preprocess", "unit", "-o", tmp_path / "p.h5")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    needed = "latentscan[heif]" if not importlib.util.find_spec("pillow_heif") else "are not read"
    assert "for example 0/0.heic (" in said
    assert needed in said


def test_an_archive_gets_the_verdict_of_its_folder(
    demo_files: Path, demo_profile: Path, tmp_path: Path, cli: Cli
) -> None:
    with tarfile.open(tmp_path / "inputs.tar.gz", "w:gz") as archive:
        archive.add(demo_files / "inputs", arcname=".")
    done = cli("scan", tmp_path / "inputs.tar.gz", "--profile", demo_profile, "--report", tmp_path / "tar.json")
    assert done.returncode == 1, done.stderr
    alone = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--report", tmp_path / "folder.json")
    assert alone.returncode == 1, alone.stderr
    packed, loose = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("tar", "folder"))
    assert packed["batch"] == loose["batch"]
    assert packed["inputs"]["scanned"] == loose["inputs"]["scanned"] == 545
    assert (packed["inputs"]["source"], loose["inputs"]["source"]) == ("archive", "folder")
