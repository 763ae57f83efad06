"""ONNX graphs: what an untrusted one holds, where to tap it, what to append to it, and running it.

Where a graph came from, and where it goes, is not known here.
"""
