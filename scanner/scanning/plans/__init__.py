"""What a scan is going to do, written down, so that anybody can do a part of it.

See docs/shards.md for the folder of a plan.
"""
