"""What a training measures on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field

Curve = list[tuple[int, float]]
"""Pairs (step, loss)."""


@dataclass
class Curves:
    """Loss against step, by the name of what was trained."""

    values: dict[str, Curve] = field(default_factory=dict)
    tell: Callable[[str, int, float], object] | None = None
    """Called with (name, step, value) of every new point, for a display of the training under way."""

    def add(self, name: str, step: int, value: float) -> None:
        """Append one point."""
        self.values.setdefault(name, []).append((step, value))
        if self.tell is not None:
            self.tell(name, step, value)
