"""Measure clean installations: ``python -m reference.install_sizes``.

For no extra, for each, and for scanning alone, the wheel of this source is installed into a new environment, which is
measured, used for one fit of a kind of file that needs it, and removed. Without the extra, the same fit has to say
which one is missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from reference.evaluate import describe_machine
from reference.install_samples import SAMPLES

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "reference" / "results" / "install_sizes.json"
PLAIN: Final = "plain"
SCAN: Final = "scan only"
LARGEST: Final = 6


def main() -> None:
    """Install, measure and try what is asked for, and write the results beside those that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Extras, 'plain' or 'scan only' to measure again; all without any.")
    parser.add_argument("--work", type=Path, help="A folder that keeps samples from one run to the next.")
    arguments = parser.parse_args()
    wanted = arguments.names or [*extras(), PLAIN, SCAN]
    found: dict[str, Any] = json.loads(RESULTS.read_text())["installed"] if arguments.names else {}
    with tempfile.TemporaryDirectory() as name:
        work = arguments.work or Path(name)
        run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", work / "wheels", ROOT])
        wheel = next((work / "wheels").glob("*.whl"))
        for each in wanted:
            found[each] = scan_only(work) if each == SCAN else installed(each, wheel, work)
    base = found[PLAIN]
    for extra in set(extras()) & found.keys():
        found[extra] |= {
            "more_mib": round(found[extra]["mib"] - base["mib"], 1),
            "more_packages": sorted(set(found[extra]["packages"]) - set(base["packages"])),
        }
    RESULTS.write_text(json.dumps({"about": {"machine": describe_machine()}, "installed": found}, indent=1) + "\n")


def extras() -> list[str]:
    """The extras that files are read by."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [extra for extra in project["optional-dependencies"] if extra in SAMPLES]


def installed(extra: str, wheel: Path, work: Path) -> dict[str, Any]:
    """Make an environment, measure it, try it, and remove it.

    Args:
        extra: What to install besides, or ``plain``.
        wheel: This tool.
        work: Where samples are kept from one environment to the next.
    """
    with tempfile.TemporaryDirectory(dir=work) as name:
        environment = Path(name)
        run([sys.executable, "-m", "venv", "--without-pip", environment])
        python = environment / "bin" / "python"
        what = str(wheel) if extra == PLAIN else f"{wheel}[{extra}]"
        run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", what])
        found = measured(environment)
        samples = work / extra
        shutil.rmtree(samples, ignore_errors=True)
        samples.mkdir()
        run([python, "-m", "reference.install_samples", extra, samples])
        found["fitted"] = fit(environment, samples) == ""
        others = extras() if extra == PLAIN else []
        found["without_the_extra"] = {other: fit(environment, work / other) for other in others}
    return found


def scan_only(work: Path) -> dict[str, Any]:
    """The same for the environment of the scan-only image, which scans with the profile of the plain sample."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        environment = Path(name)
        requirements = ROOT / "requirements" / "scan.txt"
        run(["sh", ROOT / "docker" / "install-scan.sh", environment, work / "wheels", requirements])
        found = measured(environment)
        samples = work / PLAIN
        scan = [environment / "bin" / "latentscan", "scan", samples / "clean", "--profile", samples / "profile.h5"]
        done = subprocess.run([*map(str, scan)], capture_output=True, check=False, cwd=samples)  # noqa: S603
        found["scanned"] = done.returncode in (0, 1, 3)
    return found


def measured(environment: Path) -> dict[str, Any]:
    """Size of all files, compiled ones of Python included; packages, and the largest of them."""
    files = [file for file in environment.rglob("*") if file.is_file() and not file.is_symlink()]
    site = next(environment.glob("lib/python*/site-packages"))
    sizes = {}
    for package in importlib.metadata.distributions(path=[str(site)]):
        places = [site / str(file) for file in package.files or ()]
        size = sum(place.stat().st_size for place in places if place.is_file())
        sizes[f"{package.metadata['Name']} {package.version}"] = round(size / 2**20, 1)
    largest = sorted(sizes, key=lambda package: -sizes[package])[:LARGEST]
    return {
        "mib": round(sum(file.stat().st_size for file in files) / 2**20, 1),
        "packages": sorted(sizes),
        "largest_mib": {package: sizes[package] for package in largest},
    }


def fit(environment: Path, samples: Path) -> str:
    """Fit a sample by the installed command; what it says where it fails, without paths."""
    model, clean = (next(samples.glob(f"{name}*")) for name in ("suspect", "clean"))
    options = ["--no-labels", "--preprocess", "imagenet", "--input-size", "64", "--device", "cpu", "--quiet"]
    command = [environment / "bin" / "latentscan", "fit", model, "--clean", clean, "-o", samples / "profile.h5"]
    done = subprocess.run(  # noqa: S603 - the command that was just installed
        [*map(str, command), *options], capture_output=True, text=True, check=False, cwd=samples
    )
    if done.returncode == 0:
        return "" if (samples / "profile.h5").is_file() else "no profile"
    lines = done.stderr.strip().splitlines() or ["nothing was said"]
    return f"exit code {done.returncode}: {lines[-1].replace(f'{samples}/', '')[:300]}"


def run(command: Sequence[str | Path]) -> None:
    """Run a command that has to succeed."""
    subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


if __name__ == "__main__":
    main()
