"""Export Keras's image classifiers to ONNX by tf2onnx, for measuring what structural checks say of them.

    python reference/structure_graphs_keras.py GRAPHS

For an environment of its own with tensorflow and tf2onnx, which this package does not need, nor they it. One network
of each family, with random weights, which are left out of the files as in :mod:`reference.structure_graphs`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

FAMILIES: Final = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ResNet50", "ResNet50V2"),
    *("DenseNet121", "NASNetMobile", "Xception", "InceptionV3", "ConvNeXtTiny", "InceptionResNetV2", "VGG16"),
)
KEPT_BYTES: Final = 1024


def export(name: str, target: Path) -> None:
    """Write one network of a family as ONNX, weights left out."""
    import tensorflow as tf
    import tf2onnx

    model: Any = getattr(tf.keras.applications, name)(weights=None)
    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    function = tf.function(lambda images: model(images, training=False), input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=18)
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > KEPT_BYTES:
            tensor.ClearField("raw_data")
    target.write_bytes(proto.SerializeToString())


def main() -> None:
    """Export what is missing."""
    folder = Path(sys.argv[1])
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in FAMILIES:
        target = folder / f"keras-tf2onnx+{name}.onnx"
        if target.exists():
            continue
        try:
            export(name, target)
        except Exception as error:  # whatever the libraries raise is the result
            failed = target.with_name(f"keras-tf2onnx+{name}.failed")
            failed.write_text(f"{type(error).__name__}: {str(error)[:1000]}\n", encoding="utf-8")
        sys.stderr.write(f"{name}: {'exported' if target.exists() else 'failed'}\n")


if __name__ == "__main__":
    main()
