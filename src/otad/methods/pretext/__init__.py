"""A network that learns from a task made up for normal pictures: to find defects made on purpose, or to say where a patch lay."""
