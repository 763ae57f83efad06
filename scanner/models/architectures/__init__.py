"""Named network architectures that a state dict can be loaded into."""
