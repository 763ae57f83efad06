"""While a profile is fitted, linear algebra has one thread; afterwards what it had."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

CODE = """
import json, os, sys
import numpy
from threadpoolctl import threadpool_info
from scanner.fitting.blas_threads import one_blas_thread

def threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

found = [threads()]
first, second = one_blas_thread(), one_blas_thread()
first.__enter__()
found.append(threads())
second.__enter__()
first.__exit__(None, None, None)
found.append(threads())
second.__exit__(None, None, None)
found.append(threads())
try:
    with one_blas_thread():
        raise KeyError
except KeyError:
    found.append(threads())
print(json.dumps(found))
"""


def found(**variables: str) -> list[list[int]]:
    """What a program says that has two threads where nothing else is said."""
    ours = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    environment = {**ours, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counts: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return counts


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="OpenBLAS starts no more threads than there are cores")
def test_overlapping_fits_share_one_thread_and_leave_what_there_was() -> None:
    assert found() == [[2], [1], [1], [2], [2]]


def test_who_sets_the_variable_decides() -> None:
    before, *later = found(OPENBLAS_NUM_THREADS="2")
    assert all(each == before for each in later)
