"""PyTorch's compiler, which is imported with its exporter and its optimizers, without the folder that it leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from scanner.base.leftovers import scratch_folder

_VARIABLE: Final = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def temporary_compiler_cache() -> Iterator[None]:
    """Give the compiler a folder that is removed at the end, unless the user or an outer block gave it one.

    As soon as it is imported it makes one, among the system's temporary folders by default, and stays with that.
    """
    if _VARIABLE in os.environ:
        yield
        return
    with scratch_folder() as folder:
        os.environ[_VARIABLE] = str(folder / "compiler")
        try:
            yield
        finally:
            os.environ.pop(_VARIABLE, None)
