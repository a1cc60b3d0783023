"""Where an unfinished training is kept on disk."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resume:
    """The file from which a stopped training goes on, and how often it is written."""

    file: Path
    """Safetensors, rewritten in one piece: it is whole, whenever the process ends."""
    every: int
    """Steps from one writing to the next: as many are done again at worst, to the same result."""

    @property
    def begun(self) -> Path:
        """Where the next version of the file is written, before it takes the file's name."""
        return self.file.with_suffix(".partial")

    def delete(self) -> None:
        """Remove the file: the training has ended, and its result is saved."""
        for file in (self.file, self.begun):
            file.unlink(missing_ok=True)
