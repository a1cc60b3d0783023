"""The door to sentence-transformers: captions to vectors by a model made for the similarity of texts (eq. 2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from generation.checkpoint import reading_weights, require

EXAMPLE = "sentence-transformers/all-MiniLM-L6-v2"
"""Named in the message about a model that is not there."""


class SentenceEncoder:
    """Encodes captions as unit vectors. Their cosine is eq. 3's similarity; they share no space with pictures.

    Args:
        model: a ``sentence_transformers.SentenceTransformer``.
        batch_size: captions at a time.
    """

    def __init__(self, model: Any, *, batch_size: int = 32) -> None:
        self.model, self.batch_size = model, batch_size

    @classmethod
    def from_pretrained(cls, source: str | Path, *, device: str = "cpu", batch_size: int = 32) -> "SentenceEncoder":
        """Read a folder or a hub name; safetensors only.

        Raises:
            ImportError: sentence-transformers is not installed; the sentence says how.
            FileNotFoundError: there is no such model; the sentence says how to get it.
            ValueError: its weights are pickled or do not read.
        """
        try:  # here and not above: an extra, which also takes seconds to import
            from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "captions are to be compared by sentence-transformers, which is not installed: "
                "pip install 'ragar-rec[sentences]'"
            ) from error
        with reading_weights("sentence encoder", source, example=EXAMPLE, check=_require_weights):
            # model_kwargs go on to transformers, which would otherwise read a pickle where there is no safetensors.
            model = SentenceTransformer(str(source), device=device, model_kwargs={"use_safetensors": True})
        return cls(model, batch_size=batch_size)

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """One unit vector a text, on the CPU."""
        if not texts:  # an empty list has no width: it is taken from a text that is encoded and dropped
            return self.encode_texts([""])[:0]
        return (
            self.model.encode(
                list(texts),
                batch_size=self.batch_size,
                normalize_embeddings=True,
                convert_to_tensor=True,  # otherwise NumPy
                show_progress_bar=False,
            )
            .cpu()
            .float()
        )


def _require_weights(folder: Path) -> None:
    """Check that there are safetensors weights at any depth: each module of a sentence encoder has its own folder."""
    require(folder, "**/*.safetensors")
