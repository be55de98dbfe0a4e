"""Zero-shot: every patch of one picture is matched with the picture itself."""
