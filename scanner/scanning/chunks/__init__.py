"""Inputs in runs of fixed length: scored once each, kept in a file each, and read back in order.

See docs/shards.md for what a chunk holds and why it is enough.
"""
