"""Locking down the process that reads a model file; standard library only, so that nothing runs before it."""
