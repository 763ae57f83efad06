"""Flipout layers with MOPED priors, their training, weight draws, and what the draws disagree about."""
