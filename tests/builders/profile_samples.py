"""Sample profiles, for the tests of the profile, the report and the terminal."""

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra.numpy import array_shapes, arrays

from scanner.profile.content import Profile
from scanner.profile.header import (
    CalibrationInfo,
    ClassOrder,
    DescriptorInfo,
    DetectorInfo,
    ModelInfo,
    ParityInfo,
    PreprocessCandidate,
    PreprocessInfo,
    ProfileHeader,
    ReferenceInfo,
    ScoreInfo,
    SelfCheck,
    StructureInfo,
    TapInfo,
    ToolInfo,
)


def sample_header(**changes):
    fields = {
        "tool": ToolInfo(name="latentscan", version="0.1.0"),
        "created_with": {"torch": "2.15.0", "numpy": "2.4.6"},
        "model": ModelInfo(
            name="resnet20.pth",
            sha256="ab" * 32,
            size=1_118_432,
            format="state-dict",
            architecture="resnet20",
            description="A PyTorch state dict of 121 tensors.",
            notes=("unwrapped key 'state_dict'",),
            trusted_code=False,
            structure=StructureInfo(fewest=5, bypass=(), joins=(), joined=0, selections=(), selected=0, ambiguous=0),
        ),
        "preprocess": PreprocessInfo(
            spec={"size": [32, 32], "scale": 1 / 255, "crop": None, "mean": [0.5, 0.5, 0.5]},
            source="search",
            candidates=(PreprocessCandidate(name="imagenet", accuracy=0.86),),
        ),
        "class_names": ("cat", "dog", "frog"),
        "num_classes": 3,
        "class_order": ClassOrder(source="solved", assignment=(1, 0, 2)),
        "taps": (TapInfo(name="layer1", tensor="/layer1/Relu", shape=(16, 32, 32), layout="NCHW", depth=0.5),),
        "descriptors": (DescriptorInfo(key="layer1:max", tap="layer1", pooling="max", dim=16, components=12),),
        "scores": (
            ScoreInfo(key="layer1:max:likelihood", descriptor="layer1:max", kind="likelihood", combined=True),
            ScoreInfo(key="layer1:max:reconstruction", descriptor="layer1:max", kind="reconstruction", combined=False),
        ),
        "detector": DetectorInfo(
            family="tied", parameters={"retained_variance": 0.995, "shrinkage": "ledoit-wolf"}, own_densities=3
        ),
        "reference": ReferenceInfo(
            source="class-folders",
            images=300,
            unreadable=1,
            labelled=True,
            per_class={"cat": 100, "dog": 100, "frog": 100},
            clean_accuracy=0.86,
            digest="cd" * 32,
        ),
        "calibration": CalibrationInfo(method="cross-conformal", folds=5, size=300, smallest_alpha=1 / 301),
        "parity": ParityInfo(relative=2.5e-6, provider="CPUExecutionProvider"),
        "self_checks": (
            SelfCheck(
                name="scores agree",
                message="the graph's scores differ by up to 0.002 robust standard deviations",
                statistic=0.002,
                threshold=0.05,
                n=128,
            ),
            SelfCheck(
                name="reference rescanned",
                message="1 of 128 images of the reference are flagged when they are scanned, at most 7 may be",
                statistic=1,
                threshold=7,
                n=128,
            ),
        ),
        "seed": 0,
        "warnings": (),
    }
    return ProfileHeader(**(fields | changes))


def sample_profile(**changes):
    return Profile(
        header=sample_header(**changes),
        graph=b"\x08\x0a an ONNX model",
        weights=np.arange(1000, dtype=np.uint8),
        calibration={
            "combined": np.sqrt(np.arange(300.0)),
            "/layer1/Relu:max/mean": np.linspace(-1, 1, 16),
            "layer1:max:precision": np.eye(3) / 3,
            "constant": np.float64(1.5) * np.ones(()),
            "nothing": np.zeros((0, 4)),
        },
    )


# Any code point, lone surrogates, controls and path separators included: names come from files.
names = st.text(st.characters(codec=None), min_size=1, max_size=20)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
counts = st.integers(0, 2**53)
shares = st.floats(0, 1)
sizes = st.floats(0, 1e300)
self_checks = st.builds(SelfCheck, name=names, message=st.text(), statistic=sizes, threshold=sizes, n=counts)


nodes = st.lists(st.text(), max_size=3).map(tuple)
structures = st.builds(
    StructureInfo,
    fewest=st.none() | counts,
    bypass=nodes,
    joins=nodes,
    joined=counts,
    selections=nodes,
    selected=counts,
    ambiguous=counts,
)


@st.composite
def headers(draw):
    num_classes = draw(st.integers(1, 5))
    labels = draw(st.integers(0, num_classes))
    accuracy = draw(st.none() | shares)
    return sample_header(
        created_with=draw(st.dictionaries(names, names, max_size=3)),
        model=ModelInfo(
            name=draw(names),
            sha256=draw(digests),
            size=draw(counts),
            format=draw(names),
            architecture=draw(st.none() | names),
            description=draw(st.text()),
            notes=draw(st.lists(st.text(), max_size=3)),
            trusted_code=draw(st.booleans()),
            structure=draw(st.none() | structures),
        ),
        class_names=draw(st.lists(names, min_size=num_classes, max_size=num_classes)),
        num_classes=num_classes,
        class_order=ClassOrder(
            source=draw(st.sampled_from(["given", "solved", "assumed"])),
            assignment=draw(st.permutations(range(num_classes)))[:labels],
        ),
        detector=DetectorInfo(
            family=draw(names),
            parameters={"value": draw(st.floats(allow_nan=False, allow_infinity=False))},
            own_densities=draw(counts),
        ),
        reference=ReferenceInfo(
            source=draw(names),
            images=draw(counts),
            unreadable=draw(counts),
            labelled=accuracy is not None,
            per_class=draw(st.dictionaries(names, counts, max_size=3)),
            clean_accuracy=accuracy,
            digest=draw(digests),
        ),
        calibration=CalibrationInfo(method="split", folds=None, size=draw(st.integers(1, 10**9)), smallest_alpha=0.01),
        parity=ParityInfo(relative=draw(st.none() | st.floats(0, 1e6)), provider=draw(names)),
        self_checks=draw(st.lists(self_checks, max_size=3)),
        seed=draw(counts),
        warnings=draw(st.lists(st.text(), max_size=3)),
    )


def float_arrays(**kwargs):
    return arrays(
        np.float64, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4), elements=st.floats(**kwargs)
    )


@st.composite
def profiles(draw):
    return Profile(
        header=draw(headers()),
        graph=draw(st.binary(max_size=100)),
        weights=np.frombuffer(draw(st.binary(max_size=100)), np.uint8),
        calibration=draw(st.dictionaries(names, float_arrays(allow_nan=False), max_size=12)),
    )
