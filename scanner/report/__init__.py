"""What a scan says: the schema of the JSON report, its writers, the per-input rows and the terminal summary."""
