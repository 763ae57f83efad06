"""The `scan` pipeline: from inputs and a profile to rows, a verdict and a report."""
