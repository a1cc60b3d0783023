"""The two errors of this package's own. Everything else is a built-in exception whose message is a sentence."""

from __future__ import annotations

from collections.abc import Sequence


class ConfigError(ValueError):
    """A config that cannot be run; the message lists all problems, not only the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "" if count == 1 else f"{count} problems in the config:\n  "
        super().__init__(head + "\n  ".join(self.problems))


class ShadowedPackageError(ImportError):
    """Python found a folder of the user's under the name of this library's `recsys` or `generation`."""
