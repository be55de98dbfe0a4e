"""Drawn pictures: textures, object scenes, the defects and corruptions that are put on any picture."""
