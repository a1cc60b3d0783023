"""Which systems a config may name."""

SYSTEMS = ("ragar",)
"""Built-in systems, which a config names by one word; any other is ``package.module:name``."""
