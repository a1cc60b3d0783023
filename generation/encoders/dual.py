"""The door to open_clip and timm: pictures and words to vectors, frozen, differentiable in the picture."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import open_clip
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from jaxtyping import Float, Int
from safetensors.torch import save_file
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from generation.tokens import train_bpe

BLOCK = 256


@runtime_checkable
class ImageEncoder(Protocol):
    """Pictures in [0, 1] to feature vectors; gradients flow from features to pictures."""

    name: str
    dim: int

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """One row of features a picture."""
        ...


def encode_in_blocks(encoder: ImageEncoder, images: Tensor, block: int = BLOCK) -> Float[Tensor, "n dim"]:
    """Features of a whole catalogue's pictures (bytes or floats) on the CPU, without gradient, a block at a time."""
    with torch.no_grad():
        parts = [
            encoder.encode_images(part.float() / 255 if part.dtype == torch.uint8 else part)
            for part in images.split(block)
            if len(part)
        ]
    return torch.cat(parts).cpu() if parts else torch.empty(0, encoder.dim)


class OpenClipEncoder(nn.Module):
    """A dual encoder of open_clip's own classes: ViT-L/14 from the hub, or a small one learned from a catalogue.

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
        size = config["model_cfg"]["vision_cfg"]["image_size"]
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
        """A small one with fresh weights: the same classes as ViT-B/32, at ``size`` = (height, width)."""
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
                    "hf_tokenizer_name": "CLIPTokenizer",
                    "width": width,
                    "heads": width // 32,
                    "layers": layers,
                    "pool_type": "eos",
                    "eos_id": tokenizer.eos_token_id,
                },
            },
            "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        }
        seed = int(torch.randint(2**31, (1,), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = open_clip.CLIP(**config["model_cfg"])
        return cls(model, BatchTokenizer(tokenizer), config, name="dual")

    @classmethod
    def from_pretrained(cls, source: str | Path, *, name: str | None = None) -> "OpenClipEncoder":
        """From a folder of :meth:`save_pretrained` (or of open_clip), or a hub name such as ``hf-hub:org/repo``.

        Raises:
            FileNotFoundError: the folder lacks its configuration or its weights.
            ValueError: the hub has its weights as a pickle alone.
        """
        if (folder := Path(source)).is_dir():
            for part in ("open_clip_config.json", "open_clip_model.safetensors"):
                if not (folder / part).is_file():
                    raise FileNotFoundError(f"{folder} has no {part}: not a saved dual encoder, or an incomplete one")
            config = json.loads((folder / "open_clip_config.json").read_text())
            with quiet():
                model = open_clip.create_model(f"local-dir:{folder}")
            if (folder / "tokenizer.json").is_file():
                tokenizer: Any = BatchTokenizer(CLIPTokenizer.from_pretrained(folder))
            else:
                tokenizer = open_clip.SimpleTokenizer(
                    context_length=config["model_cfg"]["text_cfg"].get("context_length", 77)
                )
            return cls(model, tokenizer, config, name=name or folder.name)
        if not str(source).startswith("hf-hub:"):
            raise FileNotFoundError(
                f"no dual encoder at {source}: give a folder with open_clip_config.json and "
                "open_clip_model.safetensors, or a hub name such as hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
            )
        repository = str(source).removeprefix("hf-hub:")
        try:  # open_clip itself would go on to the pickle
            hf_hub_download(repository, "open_clip_model.safetensors")
        except LocalEntryNotFoundError:  # nothing in the cache and no network
            raise
        except EntryNotFoundError as error:
            raise ValueError(
                f"{source} has no open_clip_model.safetensors, and pickled weights are refused: they can run code; "
                "take a model that has one, or convert it where you trust it and give the folder"
            ) from error
        config = json.loads(Path(hf_hub_download(repository, "open_clip_config.json")).read_text())
        model = cast(nn.Module, open_clip.create_model_from_pretrained(str(source), return_transform=False))
        return cls(model, open_clip.get_tokenizer(str(source)), config, name=name or str(source))

    def save_pretrained(self, folder: Path) -> None:
        """``open_clip_config.json`` and safetensors weights: ``open_clip.create_model("local-dir:…")`` reads it too."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "open_clip_config.json").write_text(json.dumps(self.config, indent=1))
        weights = {name: value.contiguous().clone() for name, value in self.model.state_dict().items()}
        save_file(weights, folder / "open_clip_model.safetensors")
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
            parts = [F.normalize(self.model.encode_text(part), dim=-1) for part in tokens.split(BLOCK)]
        return torch.cat(parts).cpu()

    @property
    def text_projection(self) -> Float[Tensor, "width dim"]:
        """From the text tower's hidden states to the joint space (used by eq. 13)."""
        return self.model.text_projection.detach()


class TimmEncoder(nn.Module):
    """A timm image model's pooled features, from a folder that holds ``model.safetensors``.

    The catalogue's mean is *not* removed here: whoever compares features does that.

    Args:
        model: any timm model.
        name: its name.
        size: (height, width) in pixels at which it sees every picture.
        mean, std: of the colours that it was trained on, one number or one a channel.
    """

    model: Any
    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        size: tuple[int, int],
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
    ) -> None:
        super().__init__()
        self.model, self.name, self.size = model, name, size
        self.register_buffer("shift", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(std).view(-1, 1, 1))
        self.dim = int(getattr(model, "head_hidden_size", None) or self.model.num_features)
        self.eval().requires_grad_(False)

    @classmethod
    def from_pretrained(cls, name: str, weights: Path, *, size: tuple[int, int] | None) -> "TimmEncoder":
        """A model of timm with its weights.

        Args:
            name: timm's name of the model.
            weights: the folder that holds ``<name>/model.safetensors``.
            size: (height, width) in pixels at which it sees every picture, colours scaled to [-1, 1]; ``None`` takes
                the size and the colours that timm knows it was trained on.

        Raises:
            FileNotFoundError: there is no such file; the sentence says where it was looked for.
        """
        file = weights / name / "model.safetensors"
        if not file.is_file():
            raise FileNotFoundError(
                f"no weights of {name} at {file}: give the folder that holds {name}/ by --weights; where there is a "
                f"network, `hf download timm/{name} model.safetensors --local-dir FOLDER/{name}` fetches them"
            )
        extra: dict[str, Any] = {"pad_type": "same"} if name.startswith("mobilenetv2") else {}
        model = timm.create_model(name, checkpoint_path=str(file), **extra)
        if size is not None:
            return cls(model, name=name, size=size)
        seen: dict[str, Any] = resolve_model_data_config(model)
        return cls(model, name=name, size=seen["input_size"][1:], mean=seen["mean"], std=seen["std"])

    def encode_images(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n dim"]:
        """Pooled features before the classifier, not normalised, differentiable in ``images``."""
        images = images.to(self.shift)
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, size=self.size, mode="bicubic", antialias=True, align_corners=False)
        features = self.model.forward_features((images - self.shift) / self.scale)
        return self.model.forward_head(features, pre_logits=True)


def timm_names() -> list[str]:
    """Every model that timm can build."""
    return timm.list_models()


class BatchTokenizer:
    """A transformers tokenizer with open_clip's calling convention: texts in, padded ids out."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Int[Tensor, "n context"]:
        """Ids, cut off or padded to the context."""
        return self.tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids


def train_clip_tokenizer(texts: Iterable[str], *, vocab_size: int, max_length: int) -> CLIPTokenizer:
    """CLIP's own byte-level BPE, learned from ``texts``: id 0 begins a text, id 1 ends and pads it."""
    vocab, merges = train_bpe(
        texts, vocab_size=vocab_size, special=["<|startoftext|>", "<|endoftext|>"], word_end="</w>", lowercase=True
    )
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)  # type: ignore[arg-type]


def clip_text_model(encoder: OpenClipEncoder) -> CLIPTextModel:
    """The dual encoder's text tower as the class that Stable Diffusion's pipelines take, weights carried over exactly.

    So ``P_gen`` and the dual encoder's text projection share one space (eq. 13 needs that).
    """
    text = encoder.config["model_cfg"]["text_cfg"]
    config = CLIPTextConfig(
        vocab_size=text["vocab_size"],
        hidden_size=text["width"],
        intermediate_size=text["width"] * 4,
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        hidden_act="gelu",
        max_position_embeddings=text["context_length"],
        projection_dim=encoder.dim,
        bos_token_id=0,
        eos_token_id=text["eos_id"],
        pad_token_id=text["eos_id"],
    )
    model = CLIPTextModel(config)
    tower = encoder.model.state_dict()
    names = {
        "embeddings.token_embedding.weight": tower["token_embedding.weight"],
        "embeddings.position_embedding.weight": tower["positional_embedding"],
        "final_layer_norm.weight": tower["ln_final.weight"],
        "final_layer_norm.bias": tower["ln_final.bias"],
    }
    for layer in range(text["layers"]):
        block, ours = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            joint = tower[f"{block}attn.in_proj_{kind}"].chunk(3)
            names |= {f"{ours}self_attn.{p}_proj.{kind}": part for p, part in zip("qkv", joint, strict=True)}
            names[f"{ours}self_attn.out_proj.{kind}"] = tower[f"{block}attn.out_proj.{kind}"]
            names[f"{ours}layer_norm1.{kind}"] = tower[f"{block}ln_1.{kind}"]
            names[f"{ours}layer_norm2.{kind}"] = tower[f"{block}ln_2.{kind}"]
            names[f"{ours}mlp.fc1.{kind}"] = tower[f"{block}mlp.c_fc.{kind}"]
            names[f"{ours}mlp.fc2.{kind}"] = tower[f"{block}mlp.c_proj.{kind}"]
    prefix = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
    model.load_state_dict({prefix + name: value.clone() for name, value in names.items()})
    return model.eval().requires_grad_(False)


class quiet:
    """Holds back open_clip's notices about random weights while a small model is built or read."""

    def __enter__(self) -> None:
        self.level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *exc: object) -> None:
        logging.disable(self.level)
