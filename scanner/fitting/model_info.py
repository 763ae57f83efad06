"""What headers and reports say of the model and its preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from scanner.fitting.options import FitOptions
from scanner.fitting.stages import ChosenPreprocess
from scanner.isolation.lockdown import Layer
from scanner.models.load import LoadedModel
from scanner.profile.header import IsolationLayer, ModelInfo, PreprocessCandidate, PreprocessInfo, StructureInfo


def model_info(model: LoadedModel, options: FitOptions) -> ModelInfo:
    """The model, and how it was loaded."""
    return ModelInfo(
        name=model.file.path.name,
        sha256=model.file.sha256,
        size=model.file.size,
        format=model.file.kind.value,
        architecture=model.architecture,
        description=model.file.description,
        notes=model.notes,
        trusted_code=options.trust_code,
        trusted_file=model.ran_file,
        isolation=layers_info(model.isolation),
        structure=StructureInfo(**asdict(model.structure)),
    )


def layers_info(isolation: Sequence[Layer]) -> tuple[IsolationLayer, ...]:
    """Layers of isolation, those that were absent included."""
    return tuple(IsolationLayer(**asdict(layer)) for layer in isolation)


def preprocess_info(preprocess: ChosenPreprocess) -> PreprocessInfo:
    """The preprocessing, where it came from, and what else was tried."""
    return PreprocessInfo(
        spec=preprocess.spec.to_dict(),
        source=preprocess.source,
        candidates=tuple(PreprocessCandidate(name=name, accuracy=acc) for name, acc in preprocess.tried),
    )
