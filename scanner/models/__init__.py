"""What a model file is, whether it may be loaded, and loading it in a child process."""
