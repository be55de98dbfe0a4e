"""A student who imitates a teacher on normal pictures, and fails on others."""
