"""What a graph says about a backdoor without any image: paths around the weights, and choices by the pixels' values.

bytes -> `read` (what is written) -> `flatten` (functions and bodies expanded) -> `analyse` (what the pixels reach)

It knows neither the library of ONNX nor a runtime, and no arrays.
"""
