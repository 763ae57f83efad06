"""Where a finding belongs in the published catalogues of attacks on machine learning.

Catalogues rename and withdraw entries, so identifiers and the versions they were taken from are in one data file,
``taxonomy.json``, and both go into every report.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from scanner.report.schema import Taxonomy


@cache
def load_taxonomy() -> Taxonomy:
    """The identifiers shipped with this package."""
    return Taxonomy.model_validate_json((files("scanner.report") / "taxonomy.json").read_bytes())
