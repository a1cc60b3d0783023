"""The readers of data sets by name, and the protocol that each of these modules follows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from recsys.catalog import UnknownItems
from recsys.data import ml_100k, ml_latest, mmrec, own
from recsys.data.atomic import Summary

PreparerName = Literal["ml-100k", "ml-latest", "own", "mmrec"]
"""Values of the key ``catalog.preparer``."""


class Preparer(Protocol):
    """A module that reads one kind of raw data set."""

    def fingerprint(self, data: Path | None) -> str:
        """Hash of everything that `prepare` reads from the folder `data`.

        Raises:
            FileNotFoundError: there is no such folder, or it lacks a file.
        """
        ...

    def prepare(self, data: Path | None, folder: Path, name: str, *, unknown_items: UnknownItems = "error") -> Summary:
        """Write the atomic files and the catalogue of the data set to ``<folder>/<name>``.

        Args:
            data: folder of the raw files; None for a data set that comes with an installed package.
            folder: parent of the new folder.
            name: name of the data set, RecBole's key ``dataset``.
            unknown_items: what becomes of interactions with items that the catalogue does not have.

        Raises:
            FileNotFoundError: there is no such folder, or it lacks a file.
            ValueError: a file cannot be read, or its contents are inconsistent.
        """
        ...


PREPARERS: Mapping[PreparerName, Preparer] = {"ml-100k": ml_100k, "ml-latest": ml_latest, "own": own, "mmrec": mmrec}
"""The readers by the value of the key ``catalog.preparer``."""
