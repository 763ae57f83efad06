"""The public door: what the command line does, as functions.

    import latentscan

    fitted = latentscan.fit(latentscan.FitOptions(model, clean, profile))
    report = latentscan.scan(latentscan.ScanOptions(inputs, profile))

What is listed in ``__all__`` is public and documented in docs/api.md, which also says what its versions promise.
Importing this loads neither PyTorch nor ONNX Runtime; `fit` and `layers` load the first, `scan` only the second.
"""

from latentscan._audit import audit
from latentscan._files import read_audit, read_profile, read_report
from latentscan._fit import fit
from latentscan._fleet import fleet
from latentscan._inspect import Layer, LayerOptions, Layers, details, inspect, layers
from latentscan._plan import merge, plan, read_plan, scan_shard
from latentscan._report import report
from latentscan._scan import scan
from scanner import __version__
from scanner.auditing.options import AuditOptions
from scanner.base.errors import (
    DeviceError,
    InconclusiveError,
    LatentscanError,
    ModelError,
    OutputError,
    PreprocessError,
    ProfileError,
    SourceError,
    UnsafeModelError,
    UsageError,
)
from scanner.base.progress import Progress
from scanner.fitting.options import BayesianOptions, FitOptions
from scanner.fitting.result import FitResult
from scanner.fleet.options import FleetOptions
from scanner.models.identify import ModelFile
from scanner.profile.content import Profile
from scanner.report.audit.schema import AuditReport
from scanner.report.fleet.schema import FleetModel, FleetReport
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.document import Plan
from scanner.scanning.plans.shard import ScannedPart
from scanner.verdict.audit_terms import AuditOutcome
from scanner.verdict.terms import Confidence, Decision, FailOn, Severity

__all__ = [
    "AuditOptions",
    "AuditOutcome",
    "AuditReport",
    "BayesianOptions",
    "Confidence",
    "Decision",
    "DeviceError",
    "FailOn",
    "FitOptions",
    "FitResult",
    "FleetModel",
    "FleetOptions",
    "FleetReport",
    "InconclusiveError",
    "LatentscanError",
    "Layer",
    "LayerOptions",
    "Layers",
    "ModelError",
    "ModelFile",
    "OutputError",
    "Plan",
    "PreprocessError",
    "Profile",
    "ProfileError",
    "Progress",
    "Report",
    "ScanOptions",
    "ScannedPart",
    "Severity",
    "SourceError",
    "UnsafeModelError",
    "UsageError",
    "__version__",
    "audit",
    "details",
    "fit",
    "fleet",
    "inspect",
    "layers",
    "merge",
    "plan",
    "read_audit",
    "read_plan",
    "read_profile",
    "read_report",
    "report",
    "scan",
    "scan_shard",
]
