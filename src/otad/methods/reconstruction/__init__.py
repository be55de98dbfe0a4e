"""A network that paints what is normal; what it cannot paint is anomalous."""
