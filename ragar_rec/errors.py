"""The two errors that only this package can raise; everything else is a built-in exception with a good sentence."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """A config that cannot be run, with every problem found and not only the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "" if count == 1 else f"{count} problems in the config:\n  "
        super().__init__(head + "\n  ".join(self.problems))


class ShadowedPackageError(ImportError):
    """Python found a folder of the user's where this library's `recsys` or `generation` should be."""
