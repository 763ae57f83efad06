"""The Bayesian detector on graphs: a posterior over a network's weights, and its draws through ONNX Runtime."""
