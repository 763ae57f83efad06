"""From files to verdicts: the command line, model loading, inputs, graphs, profile and reports."""

import os

__version__ = "0.1.0"

# From 1.29 on, ONNX Runtime reports on the models it runs to its maker, and keeps an identifier of the machine, unless
# told otherwise before it is loaded. This tool looks at confidential models and works offline: nothing may leave.
# Releases differ in the name.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["ORT_TELEMETRY_DISABLED"] = "1"
