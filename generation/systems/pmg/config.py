"""The section `pmg` of the config."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PmgConfig:
    """PMG's own settings; histories and sampling are those of the section ``generator``."""

    preference_keywords: int = 8
    """Most frequent keywords of the history that describe the preference."""
    repetitions: tuple[int, ...] = (1, 2, 3)
    """How often the preference's keywords are repeated beside the target's: one picture for each, the best is kept."""
    prompt: Literal["windows", "single"] = "windows"
    """``windows``: the text encoder reads the target's keywords and the preference's in a context each, and the rows of
    the latter are repeated; ``single``: one text, as published, cut off at the context. That must be long enough for
    the repetitions: SD-1.5's has 77 tokens, the small backbone's 32."""
    preference_weight: float = 2.0
    """Weight of the similarity with the preference, where that with the target weighs 1, when the best picture is
    chosen."""
    soft_tokens: int = 4
    """Trainable input embeddings behind the language model's prompt, read at the last hidden state."""
    soft_rows: int = 2
    """Rows of the condition that one linear layer makes of these states (published: 2 behind 75 rows of words)."""
    prefix_tokens: int = 8
    """Positions of the trainable prefix of every layer of the language model (P-tuning v2)."""
    negative_weight: float = 0.5
    """Weight at which the denoising loss of a random other item is subtracted."""
    epochs: int = 3
    """Passes over the training people's requests."""
    batch_size: int = 16
    """Requests a step."""
    learning_rate: float = 1e-3
    """Of the soft preference (5e-6 is published for language models a thousand times larger)."""

    def conflicts(self) -> Iterator[str]:
        """Settings that cannot be run, each as a sentence."""
        if not self.repetitions or len(set(self.repetitions)) < len(self.repetitions) or min(self.repetitions) < 1:
            yield f"repetitions {list(self.repetitions)} must hold at least one number, each from 1 on, and none twice"
        for name in ("preference_keywords", "soft_tokens", "soft_rows", "prefix_tokens", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"
        for name in ("preference_weight", "negative_weight"):
            if getattr(self, name) < 0:
                yield f"{name} {getattr(self, name)} must not be negative"
        if self.learning_rate <= 0:
            yield f"learning_rate {self.learning_rate} must be positive"
