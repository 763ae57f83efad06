"""Requirements, images and CI: what can go out of step with the code without anyone noticing."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scanner import __version__

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPTS = [*sorted((ROOT / "docker").glob("*.sh")), ROOT / ".ci" / "run", ROOT / ".ci" / "docker-steps"]


def requirements(path):
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def dependencies():
    return [Requirement(text) for text in PROJECT["dependencies"]]


# Requirements


def test_scan_requirements_have_the_projects_bounds():
    declared = {requirement.name: requirement.specifier for requirement in dependencies()}
    listed = requirements(ROOT / "requirements" / "scan.txt")
    assert {requirement.name: requirement.specifier for requirement in listed} == {
        requirement.name: declared[requirement.name] for requirement in listed
    }
    assert not any(requirement.marker for requirement in listed)


@pytest.mark.parametrize(
    ("system", "machine", "flavour"),
    [
        ("linux", "x86_64", "onnxruntime-gpu"),
        ("win32", "AMD64", "onnxruntime-gpu"),
        ("linux", "aarch64", "onnxruntime"),
        ("darwin", "arm64", "onnxruntime"),
        ("darwin", "x86_64", "onnxruntime"),
        ("win32", "ARM64", "onnxruntime"),
    ],
)
def test_every_platform_gets_one_flavour_of_onnx_runtime(system, machine, flavour):
    environment = {**default_environment(), "sys_platform": system, "platform_machine": machine}
    chosen = [
        requirement.name
        for requirement in dependencies()
        if requirement.name.startswith("onnxruntime")
        and (requirement.marker is None or requirement.marker.evaluate(environment))
    ]
    assert chosen == [flavour]


def module_file(name):
    path = ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported(name, *, lazily_too):
    """Names of the modules that a module of ours imports; not those for type checkers."""
    tree = ast.parse(module_file(name).read_text())
    pending, found = list(tree.body), set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}" for alias in node.names if module_file(f"{node.module}.{alias.name}")
            }
        elif lazily_too or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += list(ast.iter_child_nodes(node))
    return found


def third_party_imports_of_scan():
    """Top-level modules that `modelscan scan` can import, each with one of our modules that does."""
    # Of the other commands and functions only what they import when they are loaded counts, of `scan` everything.
    pending = [("scanner.cli.main", False), ("scanner.cli.scan", True), ("latentscan._scan", True)]
    seen, third_party = set(), {}
    while pending:
        name, lazily_too = pending.pop()
        if (name, lazily_too) in seen:
            continue
        seen.add((name, lazily_too))
        for module in imported(name, lazily_too=lazily_too):
            top = module.partition(".")[0]
            if module_file(module) is not None:
                pending.append((module, lazily_too and not module.startswith(("scanner.cli.", "latentscan"))))
            elif top in {"latentscan", "scanner", "detectors", "reference"}:
                raise AssertionError(f"{name} imports {module}, which is not there")
            elif top not in sys.stdlib_module_names:
                third_party[top] = name
    return third_party


def with_what_they_require(names):
    """Names of distributions, and of everything that installing them brings along."""
    pending, closure = [canonicalize_name(name) for name in names], set()
    while pending:
        name = pending.pop()
        if name in closure:
            continue
        closure.add(name)
        try:
            required = requires(name) or []
        except PackageNotFoundError:  # the CPU flavour of ONNX Runtime, where the GPU flavour is installed
            continue
        wanted = [Requirement(text) for text in required]
        pending += [canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return closure


def test_scan_imports_nothing_that_its_requirements_do_not_bring():
    closure = with_what_they_require(
        requirement.name for requirement in requirements(ROOT / "requirements" / "scan.txt")
    )
    optional = {Requirement(text).name for text in PROJECT["optional-dependencies"]["parquet"]}
    distributions = packages_distributions()
    imports = third_party_imports_of_scan()
    assert {"numpy", "onnxruntime", "h5py", "typer"} <= set(imports)  # else the search itself is broken
    missing = {}
    for module, importer in imports.items():
        owners = {canonicalize_name(name).removesuffix("-gpu") for name in distributions.get(module, [module])}
        if not owners & (closure | optional):
            missing[module] = importer
    assert missing == {}


# Images


def stages():
    """Stage name to its instructions, as (keyword, arguments), with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    found, current = {}, None
    for line in filter(None, (line.strip() for line in text.splitlines())):
        keyword, _, arguments = line.partition(" ")
        if keyword == "FROM":
            base, _, current = arguments.partition(" AS ")
            found[current] = [("FROM", base)]
        elif current is not None:
            found[current].append((keyword, " ".join(arguments.split())))
    return found


def lineage(name):
    """All instructions of a stage and of the stages that it is made from."""
    own = stages()[name]
    base = own[0][1]
    return (lineage(base) if base in stages() else [own[0]]) + own[1:]


@pytest.mark.parametrize("target", ["scan", "full"])
def test_images_run_the_tool_as_a_user_without_privileges(target):
    instructions = lineage(target)
    users = [arguments for keyword, arguments in instructions if keyword == "USER"]
    assert users == ["10001:10001"]
    assert ("ENTRYPOINT", '["modelscan"]') in instructions
    assert any("HOME=/tmp" in arguments for keyword, arguments in instructions if keyword == "ENV")


@pytest.mark.parametrize("target", ["scan", "full"])
def test_images_hold_their_own_environment_alone(target):
    copied = [arguments for keyword, arguments in lineage(target) if keyword in {"COPY", "ADD"}]
    assert copied == [f"--from=build-{target} /opt/latentscan /opt/latentscan"]


def test_the_full_image_is_the_default():
    assert list(stages())[-1] == "full"


def test_steps_are_the_scripts_that_are_tested():
    steps = {
        name: [arguments for keyword, arguments in instructions if keyword == "RUN"]
        for name, instructions in stages().items()
    }
    base = steps.pop("base")
    assert [step.split()[0] for step in base] == ["groupadd"]
    assert steps == {
        "build": ["/src/docker/build-wheel.sh /src /wheels"],
        "build-scan": ["/src/docker/install-scan.sh /opt/latentscan /wheels /src/requirements/scan.txt"],
        "build-full": ["/src/docker/install-full.sh /opt/latentscan /wheels"],
        "scan": [],
        "full": [],
    }
    tested = (ROOT / ".ci" / "docker-steps").read_text()
    for script in ("build-wheel.sh", "install-scan.sh", "install-full.sh"):
        assert f"docker/{script}" in tested


def test_the_base_image_has_a_tag():
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", DOCKERFILE, flags=re.MULTILINE)


def test_what_is_copied_exists_and_is_sent_to_the_engine():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    sources = [
        source
        for instructions in stages().values()
        for keyword, arguments in instructions
        if keyword == "COPY" and not arguments.startswith("--from")
        for source in arguments.split()[:-1]
    ]
    assert len(sources) >= 7
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source.partition('/')[0]}" in ignore


def test_the_wheels_own_files_are_copied_for_the_build():
    copied = {arguments for _, arguments in stages()["build"]}
    for package in ("latentscan", "scanner", "detectors", "reference"):
        assert f"{package} /src/{package}" in copied
    assert f"pyproject.toml {PROJECT['readme']} {PROJECT['license-files'][0]} /src/" in copied


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_well_formed(path):
    assert os.access(path, os.X_OK)
    shell = path.read_text().splitlines()[0].removeprefix("#!").split()[-1]
    assert shell in {"/bin/sh", "bash"}
    subprocess.run([shell, "-n", path], check=True)


def test_no_file_names_a_registry_or_an_index():
    files = [*SCRIPTS, ROOT / "Dockerfile", ROOT / "docs" / "docker.md", *(ROOT / "requirements").iterdir()]
    for path in files:
        assert not re.search(r"https?://|index-url|\.io\b|pypi", path.read_text()), path


# Release


def test_the_changelog_knows_the_version():
    versions = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert __version__ in versions


def test_ci_runs_the_test_command_of_the_readme():
    ci, readme = (ROOT / ".ci" / "run").read_text(), (ROOT / "README.md").read_text()
    assert "pip install -q -e '.[test]' && .venv/bin/pytest" in readme
    assert "pip install -q -e '.[test]'" in ci
    assert re.search(r"^step pytest$", ci, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(tmp_path):
    subprocess.run([ROOT / "docker" / "build-wheel.sh", ROOT, tmp_path], check=True)
    (wheel,) = tmp_path.glob(f"latentscan-{__version__}-*.whl")
    packaged = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    present = {
        path.relative_to(ROOT).as_posix()
        for package in ("latentscan", "scanner", "detectors", "reference")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packaged == present
