"""Sources of images, decoding and preprocessing, and the pipeline that runs them through a network."""
