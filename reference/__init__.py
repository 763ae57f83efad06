"""The paper's experiments: data sets, triggers, training, published tables, committed results."""
