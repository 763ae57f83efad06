"""Show a trigger: estimate what suspicious inputs share, stamp it on clean images, and count what the model does."""
