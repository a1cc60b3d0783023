"""The section `generator` of the config: RAGAR's own settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from generation.backbone.config import SamplingConfig

Normalization = Literal["none", "minmax", "zscore"]
"""How similarities are normalised (s' in eq. 5)."""
HistoryMode = Literal["top_k", "next_k", "random"]
"""The most similar items, those of ranks (k, 2k], or random ones: figure 2's Ret, Exp-Ret and Random."""
CalibratorMode = Literal["residual_concat", "residual", "literal"]
"""Form of eq. 9."""


@dataclass(frozen=True)
class RagarConfig(SamplingConfig):
    """RAGAR's own settings; defaults are for the small backbone."""

    k: int = 5
    """Items that are retrieved from the history (eq. 3); 0: none, so that the reference's caption alone remains."""
    history: HistoryMode = "top_k"
    """How the retrieved items are chosen (figure 2)."""
    temperature: float = 1.0
    """Temperature of the softmax over normalised similarities (eq. 5)."""
    normalization: Normalization = "minmax"
    """How the similarities are normalised (s' in eq. 5)."""
    taste: float = 0.0
    """Length of the rewarding ranker's taste vector beside P_ret, where the backbone makes rows of picture features, in
    units of a picture's distance from the catalogue's mean: the direction in which a picture would have to change for
    this person (as ICG's user embeddings say it). The generator then asks the ranker in use, too; 0: it does not."""
    retrieval_taste: float = 0.0
    """Share of the taste vector in what is retrieved, from 0, captions like the reference's (eq. 3), to 1, pictures in
    the direction of the taste: so that P_ret, and who looks at what was retrieved, see what the ranker rewards. Asks
    the ranker in use, too."""
    n_keywords: int = 8
    """Keywords that are kept over the retrieved items (eq. 6)."""
    keywords_from: Literal["retrieved", "history"] = "retrieved"
    """Items whose keywords count: the ``retrieved`` ones by their weights, or the whole ``history`` equally."""
    image_tokens: int = 8
    """L, the number of [IMG] tokens (eq. 7)."""
    text_rows: int = 16
    """Prompt states that enter the preference (E_txt in eq. 7)."""
    mapper_width: int = 128
    """Width of the mapper's transformer (GILL: 512)."""
    mapper_layers: int = 2
    """Layers of its encoder and of its decoder (GILL: 4)."""
    calibrator: CalibratorMode = "residual_concat"
    """Form of eq. 9: see :class:`generation.ragar.calibrator.BalanceCalibrator`."""
    seed: int = 0
    """Seed of the initial weights."""

    @property
    def asks_taste(self) -> bool:
        """Whether a picture depends on what the rewarding ranker knows of the person."""
        return self.taste > 0 or self.retrieval_taste > 0

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        needed = 2 * self.k if self.history == "next_k" else self.k
        if needed > self.history_length:
            requirement = f"k {self.k} with history {self.history} needs {needed} items"
            yield f"{requirement}, but history_length is {self.history_length}"
        yield from super().conflicts()
        if self.temperature <= 0:
            yield f"temperature {self.temperature} must be positive"
        if self.mapper_width < 4 or self.mapper_width % 4:
            yield f"mapper_width {self.mapper_width} is no multiple of 4, the number of heads"
        if self.taste < 0:
            yield f"taste {self.taste} must not be negative"
        if not 0 <= self.retrieval_taste <= 1:
            yield f"retrieval_taste {self.retrieval_taste} must be a share, from 0 to 1"
        if self.k < 0:
            yield f"k {self.k} must not be negative (0 retrieves nothing)"
        for name in ("n_keywords", "image_tokens", "text_rows", "mapper_layers"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"
