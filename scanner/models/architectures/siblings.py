"""Importing what lies beside a Python file, where its folder must not be listed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from scanner.isolation.paths import has_modules


class SiblingFinder(MetaPathFinder):
    """Finds the modules and packages of one folder by their names; Python's own finder lists the folder.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of this name, or None. What is within packages is found by Python: those are listed."""
        if path is not None:
            return None
        package, module = self._folder / fullname, self._folder / f"{fullname}.py"
        if (package / "__init__.py").is_file():
            return spec_from_file_location(fullname, package / "__init__.py", submodule_search_locations=[str(package)])
        if module.is_file():
            return spec_from_file_location(fullname, module)
        # As everywhere, a folder without __init__.py comes after every package that is installed.
        if has_modules(package) and PathFinder.find_spec(fullname) is None:
            namespace = ModuleSpec(fullname, None, is_package=True)
            namespace.submodule_search_locations = [str(package)]
            return namespace
        return None
