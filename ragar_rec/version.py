"""The version of this package: a part of every key in the store."""

__version__ = "0.1.0"
