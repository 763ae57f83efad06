"""From scores to p-values to batch tests. NumPy only: this is what a scan imports."""
