"""Training of the small dual encoder, by CLIP's contrastive loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from generation.backbone.config import DualEncoderConfig
from generation.backbone.corruption import augment
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.tokenizer import train_clip_tokenizer
from generation.pictures import to_float
from generation.training import Curves, Resume, Training


def shuffle_words(caption: str, generator: torch.Generator, keep: float = 0.8) -> str:
    """A paraphrase: the caption's comma-separated phrases in another order, each kept with probability ``keep``."""
    phrases = [phrase.strip() for phrase in caption.replace(" in ", ", ").split(",") if phrase.strip()]
    order = torch.randperm(len(phrases), generator=generator).tolist()
    shuffled = [phrases[i] for i in order if torch.rand((), generator=generator) < keep]
    # An empty text is guidance's unconditional prompt: a caption that lost every phrase keeps its first.
    return ", ".join(shuffled or phrases[:1])


def contrastive_loss(
    encoder: OpenClipEncoder, images: Float[Tensor, "n 3 height width"], texts: Sequence[str]
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross-entropy over a batch of pairs (Radford et al. 2021, fig. 3).

    Equal texts within a batch are no negatives of each other: the target is spread over them.
    """
    image_features = encoder.encode_images(images)
    # Not encoder.encode_texts, which has no gradient.
    text_features = F.normalize(encoder.model.encode_text(encoder.tokenizer(texts)), dim=-1)
    # CLIP bounds the learned temperature at 100, or training becomes unstable (sec. 2.5).
    logits = encoder.model.logit_scale.exp().clamp(max=100) * image_features @ text_features.T  # (n, n)
    same = torch.tensor([[a == b for b in texts] for a in texts], dtype=logits.dtype)
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train_dual_encoder(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    config: DualEncoderConfig,
    *,
    curves: Curves,
    resume: Resume | None = None,
    progress: bool = True,
) -> OpenClipEncoder:
    """Train a dual encoder of pictures and words from scratch, by :func:`contrastive_loss` on paraphrased captions.

    The image tower's patches have 16 pixels, or 8 where 16 do not divide the picture. ``resume``: as in
    :func:`generation.backbone.pretrain.train_unet`.
    """
    generator = torch.Generator().manual_seed(config.seed)
    encoder = _new_encoder(captions, config, generator)
    training = Training(
        "dual encoder: contrastive loss",
        encoder,
        examples=len(captions),
        # A contrastive loss needs more negatives than the UNet needs pictures: twice its batch, at half its rate.
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
        indices: list[int] = rows.tolist()
        # The order of the draws is part of the result: first the texts, then the pictures.
        texts = [shuffle_words(captions[i], generator) for i in indices]
        pictures = augment(to_float(images[rows]), generator)
        training.update(contrastive_loss(encoder, pictures, texts))
    return encoder.eval().requires_grad_(False)


def _new_encoder(captions: Sequence[str], config: DualEncoderConfig, generator: torch.Generator) -> OpenClipEncoder:
    """Fresh weights in training mode, and a tokenizer learned from the captions."""
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
    return encoder.train().requires_grad_(True)
