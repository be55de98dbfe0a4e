"""A Gaussian a place: how far from its mean, in its own standard deviations."""
