"""The section `generator` of the config: RAGAR's own settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Normalization = Literal["none", "minmax", "zscore"]
"""How similarities are normalised (s' in eq. 5)."""
HistoryMode = Literal["top_k", "next_k", "random"]
"""The most similar items, those of ranks (k, 2k], or random ones: figure 2's Ret, Exp-Ret and Random."""
CalibratorMode = Literal["residual_concat", "residual", "literal"]
"""Form of eq. 9."""

TIMESTEPS = 1000
"""Steps of a diffusion's whole schedule, in SD-1.x as in the small backbone."""


@dataclass(frozen=True)
class RagarConfig:
    """RAGAR's own settings; defaults are for the small backbone."""

    k: int = 5
    """Items that are retrieved from the history (eq. 3)."""
    history_length: int = 20
    """Most recent items of a history that retrieval looks at."""
    history: HistoryMode = "top_k"
    """How the retrieved items are chosen (figure 2)."""
    temperature: float = 1.0
    """Temperature of the softmax over normalised similarities (eq. 5)."""
    normalization: Normalization = "minmax"
    """How the similarities are normalised (s' in eq. 5)."""
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
    steps: int = 3
    """Denoising steps that are run; from noise (``text_to_image``) take 10 or more."""
    strength: float = 0.25
    """Image-to-image: share of the diffusion that the reference's latent goes through; 1 ignores the reference."""
    guidance_scale: float = 3.0
    """Scale of classifier-free guidance; 1 is none."""
    text_to_image: bool = False
    """Begin from noise instead of the reference's latent."""
    seed: int = 0
    """Seed of the initial weights."""

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        needed = 2 * self.k if self.history == "next_k" else self.k
        if needed > self.history_length:
            requirement = f"k {self.k} with history {self.history} needs {needed} items"
            yield f"{requirement}, but history_length is {self.history_length}"
        if not 0 < self.strength <= 1:
            yield f"strength {self.strength} must be above 0 and at most 1"
        elif problem := self.strength_problem("steps", self.steps):
            yield problem
        if self.guidance_scale < 1:
            yield f"guidance_scale {self.guidance_scale} must be at least 1 (1 is none)"
        if self.temperature <= 0:
            yield f"temperature {self.temperature} must be positive"
        if self.mapper_width < 4 or self.mapper_width % 4:
            yield f"mapper_width {self.mapper_width} is no multiple of 4, the number of heads"
        for name in ("k", "n_keywords", "image_tokens", "text_rows", "mapper_layers", "steps"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"

    def strength_problem(self, key: str, steps: int) -> str | None:
        """The sentence on a :attr:`strength` at which image-to-image cannot run so many steps; None if it can.

        Args:
            key: where the number of steps is configured.
            steps: denoising steps, which are the last of a schedule that is ``steps / strength`` long.
        """
        left = int(self.strength * TIMESTEPS)
        if self.text_to_image or left >= steps:
            return None
        advice = f"a strength of at least {steps / TIMESTEPS:g}" if steps <= TIMESTEPS else "fewer steps"
        return (
            f"strength {self.strength} goes through {left} of the diffusion's {TIMESTEPS:,} steps, fewer than "
            f"{key} {steps}: take {advice}"
        )
