"""A memory of normal features, and the distance to its nearest entry."""
