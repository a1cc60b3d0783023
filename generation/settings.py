"""Config fields that do not decide what is computed, marked so that a key made of the config can leave them out."""

from collections.abc import Mapping

INCIDENTAL: Mapping[str, bool] = {"incidental": True}
"""Metadata of a dataclass field that is no part of a result: how often a training is saved, a path whose *content*
counts. ``field(default=100, metadata=INCIDENTAL)``."""
