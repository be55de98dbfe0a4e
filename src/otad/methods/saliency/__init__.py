"""What stands out, by its contrast with the rest of the picture."""
