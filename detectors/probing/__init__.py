"""Looking for triggers with clean images alone: plain patterns, tried on a network by forward passes."""
