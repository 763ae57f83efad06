"""Sources of images, decoding and preprocessing, and the pipeline that runs them through a network.

What the network makes of the pixels is not known here.
"""
