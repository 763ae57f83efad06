"""How many clean images an audit takes: what is said of too few is about an audit, whoever counts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from audit_samples import colour_images, colour_network

import latentscan
from scanner.auditing.clean_images import MOST
from scanner.auditing.open_audit import open_audit
from scanner.auditing.options import AuditOptions
from scanner.base.errors import InconclusiveError
from scanner.base.progress import SILENCE


def options(folder: Path, count: int) -> AuditOptions:
    onnx.save(colour_network(backdoor=False), folder / "model.onnx")
    np.save(folder / "clean.npy", colour_images(count)[0], allow_pickle=False)
    return AuditOptions(latentscan.FitOptions(folder / "model.onnx", folder / "clean.npy", Path(), preprocess="unit"))


@pytest.mark.parametrize("count", [10, 23])
def test_too_few_are_refused_in_the_words_of_an_audit(tmp_path: Path, count: int) -> None:
    with pytest.raises(InconclusiveError, match=f"{count} clean images can be read, at least 24 are needed"):
        open_audit(options(tmp_path, count), SILENCE)


@pytest.mark.parametrize(("count", "used"), [(24, 24), (500, MOST)])
def test_as_many_as_there_are_are_used_up_to_a_number(tmp_path: Path, count: int, used: int) -> None:
    assert len(open_audit(options(tmp_path, count), SILENCE).images.pixels) == used
