"""The door to open_clip: dual encoders of pictures and words."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import open_clip
import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from generation.encoders.encoder import BLOCK
from generation.encoders.tokenizer import BatchTokenizer

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
"""Files of a dual encoder by open_clip's names."""


class OpenClipEncoder(nn.Module):
    """A frozen dual encoder of open_clip's own classes: ViT-L/14 from the hub, or a small one learned from a catalogue.

    Args:
        model: any ``open_clip`` model with an image and a text tower.
        tokenizer: texts to token ids, shape ``(n, context_length)``.
        config: ``model_cfg`` and ``preprocess_cfg`` as open_clip writes them in ``open_clip_config.json``.
    """

    model: Any
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, tokenizer: Any, config: dict[str, Any], *, name: str = "open_clip") -> None:
        super().__init__()
        self.model, self.tokenizer, self.config, self.name = model, tokenizer, config, name
        self.dim = int(config["model_cfg"]["embed_dim"])
        preprocess = config.get("preprocess_cfg", {})
        self.register_buffer("mean", torch.tensor(preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN)).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.get("std", open_clip.OPENAI_DATASET_STD)).view(3, 1, 1))
        size = config["model_cfg"]["vision_cfg"]["image_size"]  # open_clip allows one number or [height, width]
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.eval().requires_grad_(False)

    @classmethod
    def new(
        cls,
        tokenizer: CLIPTokenizer,
        *,
        size: tuple[int, int],
        embed_dim: int,
        width: int,
        layers: int,
        patch: int,
        generator: torch.Generator,
    ) -> "OpenClipEncoder":
        """A small encoder with fresh weights: the same classes as ViT-B/32, at ``size`` = (height, width)."""
        config = {
            "model_cfg": {
                "embed_dim": embed_dim,
                "vision_cfg": {
                    "image_size": list(size),
                    "layers": layers,
                    "width": width,
                    "head_width": 32,
                    "patch_size": patch,
                },
                "text_cfg": {
                    "context_length": tokenizer.model_max_length,
                    "vocab_size": len(tokenizer),
                    # Without a name, open_clip.get_tokenizer gives its own tokenizer, of another vocabulary.
                    "hf_tokenizer_name": "CLIPTokenizer",
                    "width": width,
                    "heads": width // 32,
                    "layers": layers,
                    # open_clip's default takes the largest id for the end of a text; in our vocabulary it is 1.
                    "pool_type": "eos",
                    "eos_id": tokenizer.eos_token_id,
                },
            },
            "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        }
        seed = int(torch.randint(2**31, (1,), generator=generator))
        # open_clip initialises weights from the global generator; it is seeded from ours and put back behind.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = open_clip.CLIP(**config["model_cfg"])
        return cls(model, BatchTokenizer(tokenizer), config, name="dual")

    @classmethod
    def from_pretrained(cls, source: str | Path, *, name: str | None = None) -> "OpenClipEncoder":
        """Read a folder of :meth:`save_pretrained` (or of open_clip), or a hub name such as ``hf-hub:org/repo``.

        Raises:
            FileNotFoundError: the folder lacks its configuration or its weights.
            ValueError: the hub has its weights as a pickle alone.
        """
        if (folder := Path(source)).is_dir():
            return cls._from_folder(folder, name or folder.name)
        if str(source).startswith("hf-hub:"):
            return cls._from_hub(str(source), name or str(source))
        raise FileNotFoundError(
            f"no dual encoder at {source}: give a folder with {CONFIG} and {WEIGHTS}, or a hub name such as "
            "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
        )

    @classmethod
    def _from_folder(cls, folder: Path, name: str) -> "OpenClipEncoder":
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise FileNotFoundError(f"{folder} has no {file}: not a saved dual encoder, or an incomplete one")
        config = json.loads((folder / CONFIG).read_text())
        with without_warnings():
            model = open_clip.create_model(f"local-dir:{folder}")
        # Not open_clip.get_tokenizer: it would look for `hf_tokenizer_name` on the hub.
        if (folder / "tokenizer.json").is_file():
            tokenizer: Any = BatchTokenizer(CLIPTokenizer.from_pretrained(folder))
        else:
            tokenizer = open_clip.SimpleTokenizer(
                context_length=config["model_cfg"]["text_cfg"].get("context_length", 77)
            )
        return cls(model, tokenizer, config, name=name)

    @classmethod
    def _from_hub(cls, source: str, name: str) -> "OpenClipEncoder":
        repository = source.removeprefix("hf-hub:")
        try:  # open_clip itself would go on to the pickle
            hf_hub_download(repository, WEIGHTS)
        except LocalEntryNotFoundError:  # nothing in the cache and no network: a subclass of the next one
            raise
        except EntryNotFoundError as error:
            raise ValueError(
                f"{source} has no {WEIGHTS}, and pickled weights are refused: they can run code; "
                "take a model that has one, or convert it where you trust it and give the folder"
            ) from error
        config = json.loads(Path(hf_hub_download(repository, CONFIG)).read_text())
        # open_clip annotates the model and its transforms in one union.
        model = cast(nn.Module, open_clip.create_model_from_pretrained(source, return_transform=False))
        return cls(model, open_clip.get_tokenizer(source), config, name=name)

    def save_pretrained(self, folder: Path) -> None:
        """Write configuration, safetensors weights and tokenizer, for ``open_clip.create_model("local-dir:…")`` too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(self.config, indent=1))
        # safetensors refuses views and tensors that share memory.
        weights = {name: value.contiguous().clone() for name, value in self.model.state_dict().items()}
        save_file(weights, folder / WEIGHTS)
        # Another tokenizer is open_clip's own, which needs no file.
        if isinstance(self.tokenizer, BatchTokenizer):
            self.tokenizer.tokenizer.save_pretrained(folder)

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """L2-normalised image features, differentiable in ``images``, on the encoder's device."""
        images = images.to(self.mean)
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(self.model.encode_image((images - self.mean) / self.std), dim=-1)

    def encode_texts(self, texts: Sequence[str]) -> Float[Tensor, "n dim"]:
        """L2-normalised text features in the images' space, on the CPU."""
        if not texts:
            return torch.empty(0, self.dim)
        tokens = self.tokenizer(list(texts)).to(self.mean.device)
        with torch.no_grad():
            blocks = [F.normalize(self.model.encode_text(block), dim=-1) for block in tokens.split(BLOCK)]
        return torch.cat(blocks).cpu()

    @property
    def text_projection(self) -> Float[Tensor, "width dim"]:
        """Matrix from the text tower's hidden states to the joint space (used by eq. 13)."""
        return self.model.text_projection.detach()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Hold back open_clip's notices about random weights while a model is built or read."""
    # open_clip logs through the root logger: there is none of its own to silence.
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
