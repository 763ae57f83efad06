"""`modelscan reproduce`: the paper's tables, measured by this tool's own detectors."""
