"""The command line as a process: exit codes, streams, and one clear line for every failure."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import cli_environment
from PIL import Image

from scanner.report.schema import Report

ROOT = Path(__file__).parents[3]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of standard error; no failure may print a traceback."""
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


class TestScan:
    def test_backdoor_is_found_and_exits_with_1(self, cli, demo_files, demo_profile, tmp_path) -> None:
        report, rows = tmp_path / "out.json", tmp_path / "rows.jsonl"
        done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--report", report, "--rows", rows)
        assert done.returncode == 1, done.stderr
        parsed = Report.model_validate_json(report.read_bytes())
        assert parsed.verdict.severity in ("high", "critical")
        assert (
            parsed.inputs.scanned == len(list((demo_files / "inputs").iterdir())) == len(rows.read_text().splitlines())
        )
        from reference.demo import evaluate_demo

        rates = evaluate_demo(rows, demo_files / "truth.csv")
        assert rates.detection_rate > 0.9
        assert rates.auroc > 0.99

    def test_clean_inputs_pass(self, cli, demo_files, demo_profile, tmp_path) -> None:
        from reference.files import read_truth

        clean = tmp_path / "clean"
        clean.mkdir()
        for row in read_truth(demo_files / "truth.csv"):
            if not row.triggered:
                shutil.copy(demo_files / "inputs" / row.file_name, clean)
        assert len(list(clean.iterdir())) > 100
        done = cli("scan", clean, "--profile", demo_profile)
        assert done.returncode == 0, done.stderr

    def test_report_is_identical_but_for_run(self, cli, demo_files, demo_profile, tmp_path) -> None:
        texts = []
        for name, threads in (("a", "1"), ("b", "3")):
            report, rows = tmp_path / f"{name}.json", tmp_path / f"{name}.jsonl"
            cli(
                "scan",
                demo_files / "inputs",
                "--profile",
                demo_profile,
                "--report",
                report,
                "--rows",
                rows,
                "--threads",
                threads,
            )
            values = json.loads(report.read_text())
            values.pop("run")
            values["rows"].pop("path")
            values.pop("report_digest")
            texts.append((values, rows.read_bytes()))
        assert texts[0] == texts[1]

    def test_source_date_epoch_fixes_every_byte(self, cli, demo_files, demo_profile, tmp_path) -> None:
        contents = []
        for _ in range(2):
            cli(
                "scan",
                "inputs",
                "--profile",
                demo_profile,
                "--report",
                tmp_path / "out.json",
                cwd=demo_files,
                SOURCE_DATE_EPOCH="1700000000",
            )
            contents.append((tmp_path / "out.json").read_bytes())
        assert contents[0] == contents[1]

    def test_standard_output_is_for_data(self, cli, demo_files, demo_profile, tmp_path) -> None:
        scan = ["scan", demo_files / "inputs", "--profile", demo_profile]
        done = cli(*scan, "--report", "-")
        Report.model_validate_json(done.stdout)
        assert (done.returncode, "Verdict:" in done.stderr) == (1, True)
        done = cli(*scan, "--report", tmp_path / "out.json")
        assert (done.returncode, done.stdout, "Verdict:" in done.stderr) == (1, "", True)
        shown = cli("report", tmp_path / "out.json")
        assert (shown.returncode, shown.stderr, "Verdict:" in shown.stdout) == (0, "", True)
        assert cli(*scan, "--report", "-", "--quiet").stderr == ""

    def test_fail_on_never_reports_only(self, cli, demo_files, demo_profile) -> None:
        assert cli("scan", demo_files / "inputs", "--profile", demo_profile, "--fail-on", "never").returncode == 0

    def test_never_imports_torch(self, demo_files, demo_profile, tmp_path) -> None:
        """The whole scan in one process, with the training framework and its kin made unimportable."""
        script = (
            "import sys\n"
            "for name in ('torch', 'torchvision', 'onnx', 'onnxscript', 'sklearn', 'scipy', 'safetensors'):\n"
            "    sys.modules[name] = None\n"
            "from scanner.cli.main import run\n"
            "code = run(sys.argv[1:])\n"
            "sys.exit(code)\n"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                "scan",
                str(demo_files / "inputs"),
                "--profile",
                str(demo_profile),
                "--report",
                str(tmp_path / "o.json"),
                "--rows",
                str(tmp_path / "o.jsonl"),
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=120,
        )
        assert done.returncode == 1, done.stderr

    def test_unreadable_inputs_are_counted_and_too_many_are_inconclusive(
        self, cli, demo_files, demo_profile, tmp_path
    ) -> None:
        mixed = tmp_path / "mixed"
        mixed.mkdir()
        good = sorted((demo_files / "ref").rglob("*.png"))[:60]
        for index, path in enumerate(good):
            shutil.copy(path, mixed / f"{index:03}.png")
        (mixed / "text.png").write_text("not an image")
        (mixed / "cut.png").write_bytes(good[0].read_bytes()[:60])
        report = tmp_path / "out.json"
        done = cli("scan", mixed, "--profile", demo_profile, "--report", report)
        assert done.returncode == 0, done.stderr
        inputs = json.loads(report.read_text())["inputs"]
        assert (inputs["total"], inputs["scanned"], inputs["unreadable"]) == (62, 60, 2)
        assert {entry["id"] for entry in inputs["unreadable_inputs"]} == {"text.png", "cut.png"}
        for index in range(40):
            (mixed / f"bad{index}.png").write_bytes(b"")
        assert cli("scan", mixed, "--profile", demo_profile, "--report", report).returncode == 3
        assert json.loads(report.read_text())["verdict"]["decision"] == "inconclusive"

    def test_one_input_is_inconclusive(self, cli, demo_files, demo_profile) -> None:
        image = next((demo_files / "ref").rglob("*.png"))
        assert cli("scan", image, "--profile", demo_profile).returncode == 3

    def test_array_and_folder_agree(self, cli, demo_files, demo_profile, tmp_path) -> None:
        paths = sorted((demo_files / "inputs").iterdir())
        np.save(tmp_path / "inputs.npy", np.stack([np.asarray(Image.open(path)) for path in paths]))
        scores = []
        for source in (demo_files / "inputs", tmp_path / "inputs.npy"):
            rows = tmp_path / "rows.jsonl"
            cli("scan", source, "--profile", demo_profile, "--rows", rows)
            scores.append([json.loads(line)["score"] for line in rows.read_text().splitlines()])
        assert scores[0] == scores[1]

    def test_interrupt_leaves_no_report(self, demo_files, demo_profile, tmp_path) -> None:
        array = tmp_path / "many.npy"
        images = np.random.default_rng(0).integers(0, 256, (200_000, 8, 8), dtype=np.uint8)
        np.save(array, images)
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "scanner",
                "scan",
                str(array),
                "--profile",
                str(demo_profile),
                "--report",
                str(tmp_path / "out.json"),
                "--rows",
                str(tmp_path / "rows.jsonl"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["many.npy"]


class TestFailures:
    def test_missing_model(self, cli, tmp_path) -> None:
        done = cli("fit", tmp_path / "no.pt", "--arch", "scnn", "--clean", tmp_path)
        assert done.returncode == 2
        assert "no.pt" in one_line(done)

    def test_text_named_pt(self, cli, demo_files, tmp_path) -> None:
        path = tmp_path / "model.pt"
        path.write_text("hello, this is no model\n")
        done = cli("fit", path, "--arch", "scnn", "--clean", demo_files / "ref", "-o", tmp_path / "p.h5")
        assert done.returncode == 2
        assert "model.pt" in one_line(done)
        assert not (tmp_path / "p.h5").exists()

    def test_empty_reference(self, cli, demo_files, tmp_path) -> None:
        (tmp_path / "empty").mkdir()
        done = cli("fit", demo_files / "vendor" / "model.pt", "--arch", "scnn", "--clean", tmp_path / "empty")
        assert done.returncode == 2
        assert "image" in one_line(done)

    def test_wrong_architecture(self, cli, demo_files) -> None:
        done = cli("fit", demo_files / "vendor" / "model.pt", "--arch", "resnet18", "--clean", demo_files / "ref")
        assert done.returncode == 2
        one_line(done)

    def test_unknown_architecture_suggests(self, cli, demo_files) -> None:
        done = cli("fit", demo_files / "vendor" / "model.pt", "--arch", "resnet-18", "--clean", demo_files / "ref")
        assert done.returncode == 2
        assert "resnet18" in one_line(done)

    def test_one_image_a_class_is_inconclusive(self, cli, demo_files, tmp_path) -> None:
        for folder in (demo_files / "ref").iterdir():
            (tmp_path / "ref" / folder.name).mkdir(parents=True)
            shutil.copy(next(folder.iterdir()), tmp_path / "ref" / folder.name)
        done = cli(
            "fit",
            demo_files / "vendor" / "model.pt",
            "--arch",
            "scnn",
            "--clean",
            tmp_path / "ref",
            "-o",
            tmp_path / "p.h5",
        )
        assert done.returncode == 3
        assert "at least 20" in one_line(done)

    def test_few_images_state_the_smallest_alpha(self, cli, demo_files, tmp_path) -> None:
        for folder in (demo_files / "ref").iterdir():
            (tmp_path / "ref" / folder.name).mkdir(parents=True)
            for path in sorted(folder.iterdir())[:5]:
                shutil.copy(path, tmp_path / "ref" / folder.name)
        done = cli(
            "fit",
            demo_files / "vendor" / "model.pt",
            "--arch",
            "scnn",
            "--clean",
            tmp_path / "ref",
            "-o",
            tmp_path / "p.h5",
        )
        assert done.returncode == 0, done.stderr
        assert "support no alpha below 0.0196" in done.stderr
        assert cli("scan", demo_files / "ref", "--profile", tmp_path / "p.h5").returncode == 3

    @pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
    def test_truncated_profile(self, cli, demo_files, demo_profile, tmp_path, keep) -> None:
        data = demo_profile.read_bytes()
        (tmp_path / "cut.h5").write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
        done = cli("scan", demo_files / "inputs", "--profile", tmp_path / "cut.h5", "--report", tmp_path / "o.json")
        assert done.returncode == 2
        assert "cut.h5" in one_line(done)
        assert not (tmp_path / "o.json").exists()

    def test_profile_for_another_model(self, cli, demo_files, demo_profile, tmp_path) -> None:
        other = tmp_path / "other.pt"
        other.write_bytes(b"something else")
        done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--model", other)
        assert done.returncode == 2
        assert "another file" in one_line(done)
        same = cli(
            "scan", demo_files / "inputs", "--profile", demo_profile, "--model", demo_files / "vendor" / "model.pt"
        )
        assert same.returncode == 1

    def test_missing_profile_and_inputs(self, cli, demo_files, demo_profile, tmp_path) -> None:
        assert cli("scan", demo_files / "inputs", "--profile", tmp_path / "no.h5").returncode == 2
        assert cli("scan", tmp_path / "no", "--profile", demo_profile).returncode == 2

    def test_output_in_a_missing_folder(self, cli, demo_files, demo_profile, tmp_path) -> None:
        done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--report", tmp_path / "no" / "o.json")
        assert done.returncode == 2
        one_line(done)

    def test_full_disk(self, cli, demo_files, demo_profile) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        link = demo_files / "full.json"
        link.symlink_to("/dev/full")
        done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--report", link)
        link.unlink()
        assert done.returncode == 2
        assert "full" in one_line(done)

    def test_cuda_without_a_gpu_is_an_error(self, cli, demo_files, demo_profile) -> None:
        if Path("/dev/nvidiactl").exists():
            pytest.skip("there is a GPU")
        done = cli("scan", demo_files / "inputs", "--profile", demo_profile, "--device", "cuda")
        assert done.returncode == 2
        assert "CUDA" in one_line(done)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["scan"], ["nonsense"], ["scan", ".", "--alpha", "2"], ["scan", ".", "--fail-on", "sometimes"],
            ["fit", "x", "--clean", ".", "--recipe", "no"], ["scan", ".", "--report", "out.pdf"],
            ["fit", "x", "--clean", ".", "--input-size", "big"], ["scan", ".", "--device", "tpu"],
            ["-p", "model.pkl"], ["scan", ".", "--rows", "rows.txt"],
        ],
    )  # fmt: skip
    def test_usage_errors_exit_with_2(self, cli, arguments, tmp_path) -> None:
        done = cli(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        one_line(done)
        assert list(tmp_path.iterdir()) == []

    def test_internal_error_is_no_verdict(self) -> None:
        script = (
            "import scanner.scanning.scan, sys\n"
            "def broken(*args): raise RuntimeError('surprise')\n"
            "scanner.scanning.scan.scan = broken\n"
            "from scanner.cli.main import run\n"
            "sys.exit(run(['scan', '.']))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 2
        assert "surprise" in one_line(done)


class TestStartUp:
    @pytest.mark.parametrize("arguments", [["--help"], ["scan", "--help"], ["fit", "--help"], ["--version"]])
    def test_help_imports_nothing_heavy(self, arguments) -> None:
        script = (
            "import sys\n"
            "from scanner.cli.main import run\n"
            "code = run(sys.argv[1:])\n"
            "heavy = {'numpy', 'torch', 'onnxruntime', 'onnx', 'h5py', 'scipy', 'PIL', 'scanner.profile.header'}\n"
            "heavy &= set(sys.modules)\n"
            "assert not heavy, heavy\n"
            "sys.exit(code)\n"
        )
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    def test_version_names_the_distribution(self, cli) -> None:
        assert cli("--version").stdout.startswith("latentscan ")

    def test_both_commands_are_the_same_program(self) -> None:
        import tomllib

        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        assert scripts == {"modelscan": "scanner.cli.main:main", "latentscan": "scanner.cli.main:main"}


class TestOtherCommands:
    def test_inspect_model(self, cli, demo_files) -> None:
        done = cli("inspect", demo_files / "vendor" / "model.pt", "--arch", "scnn")
        assert done.returncode == 0, done.stderr
        assert "sha256" in done.stdout
        assert "relu2" in done.stdout

    def test_inspect_profile(self, cli, demo_profile) -> None:
        done = cli("inspect", demo_profile)
        assert done.returncode == 0, done.stderr
        assert "clean accuracy" in done.stdout

    def test_doctor(self, cli) -> None:
        done = cli("doctor")
        assert done.returncode == 0, done.stderr
        assert "CPUExecutionProvider" in done.stdout

    def test_export_equals_scan(self, cli, demo_files, demo_profile, tmp_path) -> None:
        onnx_file, rows = tmp_path / "scoring.onnx", tmp_path / "rows.jsonl"
        done = cli("export", demo_profile, "-o", onnx_file)
        assert done.returncode == 0, done.stderr
        cli("scan", demo_files / "inputs", "--profile", demo_profile, "--rows", rows)
        expected = [json.loads(line) for line in rows.read_text().splitlines()]
        import onnxruntime as ort

        pixels = np.stack([np.asarray(Image.open(demo_files / "inputs" / row["id"])) for row in expected])[..., None]
        session = ort.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
        combined, p_value, logits = session.run(["combined_score", "p_value", "logits"], {"pixels": pixels})
        np.testing.assert_allclose(combined, [row["score"] for row in expected], rtol=1e-4, atol=1e-4)
        # The graph sees one input: what the batch shares is not in its p-value.
        assert np.mean(np.abs(p_value - [row["density_p_value"] for row in expected]) > 1e-6) < 0.01
        assert logits.argmax(1).tolist() == [row["predicted"] for row in expected]


def test_environment_is_not_needed(cli, demo_files, demo_profile) -> None:
    """No home, no locale, no terminal: as in a container."""
    done = subprocess.run(
        [sys.executable, "-m", "scanner", "scan", str(demo_files / "inputs"), "--profile", str(demo_profile)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 1, done.stderr


def test_the_command_line_keeps_linear_algebra_to_one_thread():
    """And whoever sets the variable decides."""
    code = (
        "from scanner.cli.main import run; run(['--version']); import numpy, threadpoolctl; "
        "print([each['num_threads'] for each in threadpoolctl.threadpool_info() if each['user_api'] == 'blas'])"
    )
    environment = cli_environment()
    del environment["OMP_NUM_THREADS"]
    for set_to, expected in ({}, "[1]"), ({"OPENBLAS_NUM_THREADS": "2"}, "[2]"):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, **set_to}, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == expected
