"""The door to BLIP-2: what a picture shows, said by a model that saw millions of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from generation.checkpoint import weights_of
from generation.request import Item

EXAMPLE = "Salesforce/blip2-opt-2.7b"
PIXELS = (224, 224)
"""The size in pixels at which BLIP-2's public weights see a picture."""


class Blip2Captioner:
    """BLIP-2's captions, greedy: the same picture gives the same words.

    Args:
        model: on the device where it shall run; it is put into eval mode.
        processor: its own.
        batch_size: pictures at a time.
        max_new_tokens: longest caption.
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
        """From a folder of ``save_pretrained`` or a hub name; safetensors only.

        Raises:
            FileNotFoundError: there is none, or only a part of one; the sentence says how to get it.
            ValueError: its weights are pickled or do not read.
        """
        with weights_of("BLIP-2 captioner", source, example=EXAMPLE):
            processor = Blip2Processor.from_pretrained(source)
            model: Any = Blip2ForConditionalGeneration.from_pretrained(source, dtype=dtype, use_safetensors=True)
        return cls(model.to(device), processor, name=str(source), **settings)

    def __call__(self, items: Sequence[Item], images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        """One caption a picture, in order; empty where the model says nothing.

        Raises:
            ValueError: it says nothing about any picture.
        """
        starts = range(0, len(images), self.batch_size)
        bar = tqdm(starts, desc="captions", unit="batch", disable=not self.progress)
        said = [words for start in bar for words in self._batch(images[start : start + self.batch_size])]
        if said and not any(said):
            raise ValueError(f"{self.name} said nothing about any of {len(said)} pictures: is it a captioning model?")
        return said

    @torch.no_grad()
    def _batch(self, images: UInt8[Tensor, "n 3 height width"]) -> list[str]:
        model = self.model
        pixels = self.processor.image_processor(images=list(images), return_tensors="pt").pixel_values
        made: Any = model.generate(
            pixels.to(model.device, model.dtype), max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1
        )
        texts = self.processor.tokenizer.batch_decode(made, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]
