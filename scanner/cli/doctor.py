"""``modelscan doctor``: what this installation can do, and what stands in its way."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from scanner.isolation.lockdown import Layer

REQUIRED = ("numpy", "onnxruntime-gpu", "onnxruntime", "h5py", "pydantic", "pillow", "typer", "rich", "jinja2")
FIT_ONLY = ("torch", "torchvision", "onnx", "onnxscript", "scikit-learn", "scipy", "safetensors")
OPTIONAL = ("pyarrow",)
NAME_CLASH = (
    "Protect AI's modelscan is installed here too and owns or shadows the command 'modelscan'. "
    "Use 'latentscan', or install one of them elsewhere."
)


def doctor() -> None:
    """Print versions, execution providers and known problems of this installation."""
    from scanner import __version__

    typer.echo(f"latentscan       {__version__}")
    typer.echo(f"python           {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in (*REQUIRED, *FIT_ONLY, *OPTIONAL):
        typer.echo(f"{name:<16} {_installed(name) or 'not installed'}")
    typer.echo(f"providers        {', '.join(usable_providers())}")
    typer.echo(f"cores            {_cores()}")
    for layer in _isolation():
        typer.echo(f"isolation        {'yes' if layer.active else 'no '} {layer.name}: {layer.detail}")
    problems = find_problems()
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if not problems:
        typer.echo("no problems found")


def usable_providers() -> list[str]:
    """Execution providers a session really gets: the library lists those it was built with."""
    from scanner.graph.probe import usable_providers as probe

    return probe()


def find_problems() -> list[str]:
    """Known problems of this environment, each with its remedy."""
    problems = []
    if name_clash():
        problems.append(NAME_CLASH)
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other. Uninstall both, install one."
        )
    missing = [name for name in FIT_ONLY if _installed(name) is None]
    if missing:
        problems.append(f"'fit', 'export' and 'demo' need {', '.join(missing)}; 'scan' does not.")
    if os.environ.get("PYTHONOPTIMIZE"):
        problems.append("PYTHONOPTIMIZE is set, which removes internal checks. Unset it.")
    return problems


def name_clash() -> bool:
    """Whether another distribution named ``modelscan`` is installed in this environment."""
    return _installed("modelscan") is not None


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # which brings the parser of e-mail

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _isolation() -> tuple[Layer, ...]:
    from scanner.isolation.statement import probe_isolation

    return probe_isolation()


def _cores() -> int:
    from scanner.inputs.threads import usable_cores

    return usable_cores()
