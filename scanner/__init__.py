"""From files to verdicts: the command line, model loading, inputs, graphs, profile and reports."""

__version__ = "0.1.0"
