"""The profile, all that `scan` needs in one HDF5 file: `header`, `content`, `writer`, `reader`."""
