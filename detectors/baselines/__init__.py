"""What the network's own confidence says, for comparison (the paper's DNN row)."""
