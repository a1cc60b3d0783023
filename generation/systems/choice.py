"""Which systems a config may name."""

SYSTEMS = ("ragar", "pmg")
"""Built-in systems, which a config names by one word; any other is ``package.module:name``."""
