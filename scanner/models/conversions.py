"""The commands that make an ONNX file out of formats that are recognised and not read.

Each is for the machine of somebody who trusts the file: reading these formats runs the libraries of their frameworks.
"""

from __future__ import annotations

from typing import Final

TFLITE: Final = (
    "convert it with pip install tf2onnx tensorflow, then python -m tf2onnx.convert --opset 18 --tflite MODEL.tflite "
    "--output model.onnx"
)
SAVED_MODEL: Final = (
    "Convert it with pip install tf2onnx tensorflow, then python -m tf2onnx.convert --opset 18 --saved-model FOLDER "
    "--output model.onnx"
)
KERAS_2: Final = (
    "convert it with pip install keras tensorflow, then python -c \"import keras; keras.models.load_model('MODEL.h5', "
    "compile=False).save('model.keras')\""
)
YOLO: Final = "pip install ultralytics, then yolo export model=MODEL.pt format=onnx"
OPENVINO: Final = "it has no way back to ONNX, so ask for the ONNX file or the original that it was converted from"
COREML: Final = "it has no way back to ONNX, so ask for the ONNX file or the original that it was converted from"
