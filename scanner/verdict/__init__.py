"""From evidence to a verdict: `terms`, `rules`, `checks`, `decide`."""
