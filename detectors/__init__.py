"""From features to scores to p-values: arrays only, no files, no command line."""
