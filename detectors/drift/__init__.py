"""Whether inputs are still like the clean reference, and what they look like."""
