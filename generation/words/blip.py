"""The door to BLIP-2: captions of pictures by a large pretrained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from generation.checkpoint import reading_weights
from generation.request import Item

EXAMPLE = "Salesforce/blip2-opt-2.7b"
"""Named in the message about a model that is not there."""
PIXELS = (224, 224)
"""Input size of BLIP-2's public weights in pixels."""


class Blip2Captioner:
    """Captions pictures by BLIP-2 with greedy decoding: the same picture has the same caption.

    Args:
        model: on the device where it runs; it is put into eval mode.
        processor: the model's own.
        batch_size: pictures at a time.
        max_new_tokens: tokens of the longest caption.
        progress: show a bar.
    """

    def __init__(
        self,
        model: Blip2ForConditionalGeneration,
        processor: Blip2Processor,
        *,
        batch_size: int = 8,
        max_new_tokens: int = 40,
        name: str = "BLIP-2",
        progress: bool = False,
    ) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name
        self.batch_size, self.max_new_tokens, self.progress = batch_size, max_new_tokens, progress

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **settings: Any
    ) -> "Blip2Captioner":
        """Read a folder of ``save_pretrained`` or a hub name; safetensors only.

        Raises:
            FileNotFoundError: there is none, or only a part of one; the message says how to get it.
            ValueError: its weights are pickled or do not read.
        """
        with reading_weights("BLIP-2 captioner", source, example=EXAMPLE):
            processor = Blip2Processor.from_pretrained(source)
            model: Any = Blip2ForConditionalGeneration.from_pretrained(source, dtype=dtype, use_safetensors=True)
        return cls(model.to(device), processor, name=str(source), **settings)

    def __call__(self, items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """One caption a picture, in order; empty where the model generates no word.

        Raises:
            ValueError: it generates no word for any picture.
        """
        starts = range(0, len(images), self.batch_size)
        bar = tqdm(starts, desc="captions", unit="batch", disable=not self.progress)
        captions = [text for start in bar for text in self._caption(images[start : start + self.batch_size])]
        if captions and not any(captions):
            raise ValueError(
                f"{self.name} said nothing about any of {len(captions)} pictures: is it a captioning model?"
            )
        return captions

    @torch.no_grad()
    def _caption(self, images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """Captions of one batch."""
        model = self.model
        # The image processor alone: without a text BLIP-2 generates from the picture, so no prompt is tokenised.
        pixels = self.processor.image_processor(images=list(images), return_tensors="pt").pixel_values
        # A folder's own generation settings may ask for sampling or beams.
        tokens: Any = model.generate(
            pixels.to(model.device, model.dtype), max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1
        )
        texts = self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
