"""From pixels to scores: the profile's graph, and the weight draws behind it."""
