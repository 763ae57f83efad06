"""The profile, all that `scan` needs in one HDF5 file: `header`, `content`, `writer`, `reader`.

Neither fitting what is in it nor judging with it belongs here.
"""
