"""The section `language` of the config: size and training budget of the small language model."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageConfig:
    """Size and training budget of the small causal LM."""

    hidden_size: int = 128
    """Width of the hidden states."""
    layers: int = 2
    """Number of transformer layers."""
    vocab_size: int = 2048
    """Largest vocabulary of the tokenizer that is learned from the catalogue."""
    steps: int = 100
    """Training steps on the catalogue's text, 32 texts each."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""

    def conflicts(self) -> Iterator[str]:
        """Sizes that cannot be built, each as a sentence."""
        if self.hidden_size < 8 or self.hidden_size % 8:
            yield f"hidden_size {self.hidden_size} is no multiple of 8: four heads of even width"
        if self.vocab_size < 257:
            yield f"vocab_size {self.vocab_size}: one special token and the 256 bytes are taken before the first merge"
        for name in ("layers", "steps"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"
