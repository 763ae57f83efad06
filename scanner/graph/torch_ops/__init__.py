"""ONNX operators as PyTorch functions: those that image classifiers are made of, at opset 20."""
