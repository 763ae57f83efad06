"""The documentation's commands and the integrations' shell, executed."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import DEMO_FOLDER

ROOT = Path(__file__).parents[2]


PAGES = ("README.md", "github.md", "gitlab.md", "jenkins.md", "pre-commit.md", "trojai.md")


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


def blocks(name, language="sh"):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)


def test_the_guide_runs_from_file_to_gate(workplace):
    demo, *rest = "\n".join(blocks("guide.md")).splitlines(keepends=True)
    assert demo == "modelscan demo\n"  # what the fixture ran
    sample = workplace / DEMO_FOLDER
    sample.mkdir()
    for name in ("vendor", "ref", "inputs"):
        (sample / name).symlink_to(workplace / name)
    done = run("".join(rest), workplace)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert "stop: exit code 1" in done.stdout
    assert re.search(r"fail-on +medium +file", done.stdout)
    assert re.search(r"fail-on +high +environment", done.stdout)
    for name in (
        "report.html",
        "report.sarif",
        "report.xml",
        "summary.md",
        "report.cdx.json",
        "gate.xml",
        "audit.html",
    ):
        assert (sample / name).stat().st_size, name
    assert "printing error" in (sample / "second.json").read_text()
    audit = json.loads((sample / "audit.json").read_text())
    about_all = [one for one in audit["patterns"] if one["about"] == "all classes"]
    strongest = max(about_all, key=lambda one: one["statistic"])
    assert strongest["described"].startswith("a chequered patch")
    assert strongest["statistic"] > 0.5
    assert strongest["shift"] == 1
    assert audit["verdict"]["exit_code"] == (1 if strongest["statistic"] >= 0.8 else 3)
    (verify,) = blocks("integrations/pre-commit.md")
    assert "FAILED its scan" in run(f"cd {DEMO_FOLDER}\n{verify}", workplace).stdout


def test_every_page_exists_and_its_links_lead_somewhere():
    folder = ROOT / "docs" / "integrations"
    assert {path.name for path in folder.iterdir()} == set(PAGES)
    for page in [*folder.iterdir(), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)


def test_github_action(workplace):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    scan = next(step for step in action["runs"]["steps"] if step.get("id") == "scan")
    assert set(re.findall(r"inputs\.([\w-]+)", str(action["runs"]))) == set(action["inputs"])
    (workflow,) = blocks("integrations/github.md", "yaml")
    steps = yaml.safe_load(workflow)["jobs"]["backdoor"]["steps"]
    (example,) = [step["with"] for step in steps if step.get("id") == "scan"]
    assert set(example) <= set(action["inputs"])
    assert set(re.findall(r"steps\.scan\.outputs\.([\w-]+)", workflow)) <= set(action["outputs"])
    given = {name: str(one.get("default", "")) for name, one in action["inputs"].items()} | example
    given |= {"profile": "fitted.h5", "output": "ci"}
    environment = {name: given[re.search(r"inputs\.([\w-]+)", value)[1]] for name, value in scan["env"].items()}
    environment |= {
        "GITHUB_OUTPUT": str(workplace / "outputs"),
        "GITHUB_STEP_SUMMARY": str(workplace / "summary"),
    }
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


def test_gitlab(workplace):
    template = "integrations/gitlab/latentscan.gitlab-ci.yml"
    (example,) = blocks("integrations/gitlab.md", "yaml")
    pipeline = yaml.safe_load(example)
    assert pipeline["include"][0]["file"] == f"/{template}"
    job = yaml.safe_load((ROOT / template).read_text())["latentscan"]
    assert set(pipeline["latentscan"]["variables"]) == set(job["variables"])
    (command,) = job["script"]
    variables = pipeline["latentscan"]["variables"] | {"SCAN_PROFILE": "fitted.h5"}
    done = run(command, workplace, **variables)
    assert done.returncode == 1, done.stderr
    for name in (*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]):
        assert (workplace / name).is_file()


def test_jenkins(workplace):
    (text,) = blocks("integrations/jenkins.md", "groovy")
    assert text == (ROOT / "integrations/jenkins/Jenkinsfile").read_text()
    (command,) = re.findall(r"sh '''\n(.*?)'''", text, re.DOTALL)
    shutil.copy(workplace / "fitted.h5", workplace / "modelscan.h5")
    assert run(command, workplace).returncode == 1


def test_the_hook_checks_digests(workplace):
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (example,) = blocks("integrations/pre-commit.md", "yaml")
    assert [one["id"] for one in yaml.safe_load(example)["repos"][0]["hooks"]] == [hook["id"]]
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


class TestTrojAI:
    """The entry point, as its page calls it."""

    @pytest.fixture
    def place(self, workplace, tmp_path):
        (tmp_path / "vendor").symlink_to(workplace / "vendor")
        (tmp_path / "ref").symlink_to(workplace / "ref")
        (tmp_path / "inputs").symlink_to(workplace / "inputs")
        (tmp_path / "bin").symlink_to(workplace / "bin")
        shutil.copy(ROOT / "integrations" / "trojai" / "entry_point.py", tmp_path)
        return tmp_path

    def test_with_a_profile_that_is_there(self, place, workplace):
        (place / "scratch").mkdir()
        shutil.copy(workplace / "fitted.h5", place / "scratch" / "modelscan.h5")
        (script,) = blocks("integrations/trojai.md")
        done = run(script, place)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0.999
        (place / "vendor").unlink()
        (place / "vendor").mkdir()
        (place / "vendor" / "model.pt").write_bytes(b"another model")
        (place / "result.txt").unlink()
        assert run(script, place).returncode == 2
        assert not (place / "result.txt").exists()

    @pytest.mark.slow
    def test_from_nothing(self, place):
        (script,) = blocks("integrations/trojai.md")
        done = run(script, place)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) > 0.999

    def test_without_inputs_nothing_is_known(self, place):
        script = blocks("integrations/trojai.md")[0].replace("cp -r inputs examples/inputs", "")
        done = run(script, place)
        assert (done.returncode, float(done.stdout)) == (0, 0.5), done.stderr
        assert "nothing can be said" in done.stderr

    @pytest.mark.parametrize(
        ("p", "severity", "code", "expected"),
        [(0.9, "none", 0, 0.5), (0.2, "none", 0, 0.5), (0.05, "low", 0, 0.7106), (1e-3, "high", 1, 0.9816),
         (0.0, "critical", 1, 1.0), (1e-9, "critical", 3, 0.5), (1e-9, None, 3, 0.5)],
    )  # fmt: skip
    def test_the_probability_follows_from_the_verdict(self, p, severity, code, expected):
        namespace = runpy.run_path(str(ROOT / "integrations" / "trojai" / "entry_point.py"))
        report = {"batch": {"p_value": p}, "verdict": {"severity": severity, "exit_code": code}}
        assert namespace["probability"](report) == pytest.approx(expected, abs=1e-4)
