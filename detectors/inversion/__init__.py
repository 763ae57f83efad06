"""Patterns found by gradients: the smallest patch and the weakest offset that move images to a class."""
