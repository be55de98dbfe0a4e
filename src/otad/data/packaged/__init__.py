"""Real pictures that Python packages ship: photographs of textures, cells of solar modules."""
