"""A TrojAI-style entry point: a model and examples in, the probability of a backdoor out.

    python3 entry_point.py --model_filepath model.pt --examples_dirpath examples --scratch_dirpath scratch \
        --result_filepath result.txt --fit_options "--arch resnet50"

``examples/clean`` holds clean images, a folder per class, and ``examples/inputs`` images that may carry a trigger.
Without the latter nothing can be said, and the result is 0.5. See docs/integrations/trojai.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from pathlib import Path

UNKNOWN = 0.5


def probability(report: dict) -> float:
    """Largest probability of a backdoor that the batch p-value allows, at even odds (Sellke et al., 2001)."""
    p = report["batch"]["p_value"]
    if report["verdict"]["exit_code"] == 3 or report["verdict"]["severity"] in (None, "none") or p >= 1 / math.e:
        return UNKNOWN
    return 1 / (1 - math.e * p * math.log(p)) if p > 0 else 1.0


def latentscan(*arguments: str | Path, codes: set[int]) -> bytes:
    """Run the command; standard output, or the end of this program with its exit code."""
    command = ["latentscan", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603
    if done.returncode not in codes:
        sys.exit(done.returncode)
    return done.stdout


def main() -> None:
    """Read the arguments, fit unless there is a profile, scan, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model_filepath", "result_filepath", "scratch_dirpath", "examples_dirpath"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--fit_options", default="", help="options of 'latentscan fit', as one argument")
    given, _ = parser.parse_known_args()
    inputs, profile = given.examples_dirpath / "inputs", given.scratch_dirpath / "modelscan.h5"
    result = UNKNOWN
    if inputs.is_dir():
        if not profile.exists():
            fit = ("fit", given.model_filepath, "--clean", given.examples_dirpath / "clean", "--output", profile)
            latentscan(*fit, *shlex.split(given.fit_options), codes={0})
        scan = ("scan", inputs, "--profile", profile, "--model", given.model_filepath, "--report", "-")
        result = probability(json.loads(latentscan(*scan, codes={0, 1, 3})))
    else:
        print(f"{inputs} does not exist: without inputs that may be triggered, nothing can be said", file=sys.stderr)
    given.result_filepath.write_text(f"{result:.6f}\n")


if __name__ == "__main__":
    main()
