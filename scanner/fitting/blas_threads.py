"""Linear algebra on one thread while a profile is fitted.

Layers are fitted side by side, and on a busy machine the threads that each of them would start wait for each other: a
fit of a few hundred images then takes several times the processor's time, and rounds as the number of threads has it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Final

from threadpoolctl import threadpool_limits

CHOSEN: Final = "OPENBLAS_NUM_THREADS"
"""Who sets this variable decides. The command line sets it, before NumPy is loaded."""
_lock = threading.Lock()
_inside: list[threadpool_limits] = []
"""As many as fits of this process are under way. The first knows how many threads there were, and stays to the last."""


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within it linear algebra takes one thread, in all of this process, unless :data:`CHOSEN` is set.

    After the last of several that overlap it takes as many as before the first.
    """
    if CHOSEN in os.environ:
        yield
        return
    with _lock:
        _inside.append(threadpool_limits(1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            if len(_inside) == 1:
                _inside[0].restore_original_limits()
            _inside.pop()
