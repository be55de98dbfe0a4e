"""Few learnt prototypes, and the distance to the closest of them."""
