"""Training of the small dual encoder, by CLIP's contrastive loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from generation.backbone.config import DualEncoderConfig
from generation.backbone.corruption import augment
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.tokenizer import train_clip_tokenizer
from generation.pictures import to_float
from generation.training import Curves, Resume, Training


def shuffle_words(caption: str, generator: torch.Generator, keep: float = 0.8) -> str:
    """A paraphrase: the caption's comma-separated parts in another order, each kept with probability ``keep``."""
    parts = [part.strip() for part in caption.replace(" in ", ", ").split(",") if part.strip()]
    order = torch.randperm(len(parts), generator=generator).tolist()
    kept = [parts[i] for i in order if torch.rand((), generator=generator) < keep]
    return ", ".join(kept or parts[:1])


def train_dual_encoder(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    config: DualEncoderConfig,
    *,
    curves: Curves,
    resume: Resume | None = None,
    progress: bool = True,
) -> OpenClipEncoder:
    """Pictures and words into one space, by CLIP's symmetric contrastive loss (Radford et al. 2021, fig. 3).

    Captions that say the same within a batch are no negatives of each other: the target is spread over them. The image
    tower's patches have 16 pixels, or 8 where 16 do not divide the picture. ``resume``: as in :func:`train_unet`.
    """
    generator = torch.Generator().manual_seed(config.seed)
    tokenizer = train_clip_tokenizer(captions, vocab_size=config.vocab_size, max_length=config.context)
    encoder = OpenClipEncoder.new(
        tokenizer,
        size=(config.image_height, config.image_width),
        embed_dim=config.embed_dim,
        width=config.encoder_width,
        layers=config.encoder_layers,
        generator=generator,
        patch=8 if config.image_height % 16 or config.image_width % 16 else 16,
    )
    encoder.train().requires_grad_(True)
    training = Training(
        "dual encoder: contrastive loss",
        encoder,
        examples=len(captions),
        batch_size=2 * config.batch_size,
        steps=config.encoder_steps,
        learning_rate=config.learning_rate / 2,
        weight_decay=0.1,
        generator=generator,
        curves=curves,
        resume=resume,
        progress=progress,
    )
    for rows in training:
        picked: list[int] = rows.tolist()
        texts = [shuffle_words(captions[i], generator) for i in picked]
        pictures = augment(to_float(images[rows]), generator)
        image_features = encoder.encode_images(pictures)
        text_features = F.normalize(encoder.model.encode_text(encoder.tokenizer(texts)), dim=-1)
        logits = encoder.model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T  # (B, B)
        same = torch.tensor([[a == b for b in texts] for a in texts], dtype=logits.dtype)
        target = same / same.sum(1, keepdim=True)
        training.learn((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2)
    return encoder.eval().requires_grad_(False)
