"""The documentation's commands and the integrations' shell, executed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def workplace(demo_files, demo_profile, tmp_path_factory):
    """The demo's files with `modelscan` and `latentscan` on the PATH."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("vendor", "ref", "inputs"):
        shutil.copytree(demo_files / name, folder / name)
    commands = folder / "bin"
    commands.mkdir()
    for name in ("modelscan", "latentscan"):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m scanner "$@"\n')
        script.chmod(0o755)
    shutil.copy(demo_profile, folder / "fitted.h5")
    return folder


def run(script, workplace, **environment):
    path = f"{workplace / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=workplace,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def blocks(name):
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)


def test_the_guide_runs_from_file_to_gate(workplace):
    script = "\n".join(blocks("guide.md"))
    done = run(script, workplace)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert "stop: exit code 1" in done.stdout
    assert re.search(r"fail-on +medium +file", done.stdout)
    assert re.search(r"fail-on +high +environment", done.stdout)
    for name in ("report.html", "report.sarif", "report.xml", "summary.md", "report.cdx.json", "gate.xml"):
        assert (workplace / name).stat().st_size, name
    assert "printing error" in (workplace / "second.json").read_text()
    (workplace / "latentscan.toml").unlink()
    (verify,) = blocks("integrations.md")
    assert "FAILED its scan" in run(verify, workplace).stdout


def test_github_action(workplace):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    scan = next(step for step in action["runs"]["steps"] if step.get("id") == "scan")
    assert set(re.findall(r"inputs\.([\w-]+)", str(action["runs"]))) == set(action["inputs"])
    environment = {
        "SCAN_INPUTS": "inputs",
        "SCAN_PROFILE": "fitted.h5",
        "SCAN_MODEL": "vendor/model.pt",
        "SCAN_FAIL_ON": "",
        "SCAN_OUTPUT": "ci",
        "GITHUB_OUTPUT": str(workplace / "outputs"),
        "GITHUB_STEP_SUMMARY": str(workplace / "summary"),
    }
    assert set(scan["env"]) <= set(environment)
    done = run(scan["run"], workplace, **environment)
    assert done.returncode == 1, done.stderr
    assert (workplace / "outputs").read_text().splitlines() == [
        "sarif=ci/report.sarif",
        "exit-code=1",
        "verdict=quarantine",
    ]
    assert "Backdoor scan: critical" in (workplace / "summary").read_text()
    (workplace / "outputs").unlink()
    done = run(scan["run"], workplace, **{**environment, "SCAN_INPUTS": "absent"})
    assert done.returncode == 2
    assert (workplace / "outputs").read_text().splitlines() == ["exit-code=2", "verdict=none"]


def test_gitlab_and_jenkins(workplace):
    job = yaml.safe_load((ROOT / "integrations/gitlab/latentscan.gitlab-ci.yml").read_text())["latentscan"]
    (command,) = job["script"]
    done = run(command, workplace, **{**job["variables"], "SCAN_PROFILE": "fitted.h5"})
    assert done.returncode == 1, done.stderr
    for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert (workplace / name).is_file()
    text = (ROOT / "integrations/jenkins/Jenkinsfile").read_text()
    (command,) = re.findall(r"sh '''\n(.*?)'''", text, re.DOTALL)
    shutil.copy(workplace / "fitted.h5", workplace / "modelscan.h5")
    assert run(command, workplace).returncode == 1


def test_the_hook_checks_digests(workplace):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    script = (
        f"latentscan scan inputs --profile fitted.h5 --report approved.json --quiet --fail-on never; {hook['entry']}"
    )
    done = run(f"{script} --report approved.json vendor/model.pt", workplace)
    assert (done.returncode, "approved by approved.json" in done.stdout) == (0, True), done.stderr
    (workplace / "other.onnx").write_bytes(b"other")
    assert re.search(hook["files"], "other.onnx")
    done = run(f"{hook['entry']} --report approved.json other.onnx vendor/model.pt", workplace)
    assert (done.returncode, "NOT in any report" in done.stdout) == (1, True)
    assert run(f"{hook['entry']} --report absent.json other.onnx", workplace).returncode == 2
