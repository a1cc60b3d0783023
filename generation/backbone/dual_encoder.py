"""Training of the small dual encoder, by CLIP's contrastive loss, and by what a picture looks like from afar."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from generation.backbone.config import DualEncoderConfig
from generation.backbone.corruption import augment
from generation.backbone.paraphrase import shuffle_words
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.tokenizer import train_clip_tokenizer
from generation.pictures import to_float
from generation.training import Curves, Resume, Training

THUMBNAIL = (6, 4)
"""Height and width of the thumbnail that a picture's feature must know."""
THUMBNAIL_WEIGHT = 10.0
"""Of the thumbnail's squared error, which is hundredths, beside a cross-entropy of one to five."""


def contrastive_loss(
    encoder: OpenClipEncoder, image_features: Float[Tensor, "n dim"], texts: Sequence[str]
) -> Float[Tensor, ""]:
    """CLIP's symmetric cross-entropy over a batch of pairs of a picture's feature and a text (Radford et al. 2021).

    Equal texts within a batch are no negatives of each other: the target is spread over them.
    """
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
    initial: OpenClipEncoder | None = None,
    resume: Resume | None = None,
    progress: bool = True,
) -> OpenClipEncoder:
    """Train a dual encoder of pictures and words, from scratch or from an ``initial`` one.

    The loss is :func:`contrastive_loss` on paraphrased captions.

    A linear layer on the pictures' features, which is not kept, must also give back their thumbnails: captions name few
    colours, and a generator that is conditioned on these features can only draw what they know.
    The image tower's patches have 16 pixels, or 8 where 16 do not divide the picture. ``resume``: as in
    :func:`generation.backbone.pretrain.train_unet`.
    """
    generator = torch.Generator().manual_seed(config.seed)
    encoder = initial or _new_encoder(captions, config, generator)
    encoder.train().requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        thumbnails = nn.Linear(config.embed_dim, 3 * THUMBNAIL[0] * THUMBNAIL[1])
    training = Training(
        "dual encoder: loss",
        nn.ModuleDict({"encoder": encoder, "thumbnails": thumbnails}),
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
        features = encoder.encode_images(pictures)
        wanted = F.interpolate(pictures, size=THUMBNAIL, mode="area").flatten(1)
        seen = F.mse_loss(thumbnails(features), wanted)
        training.update(contrastive_loss(encoder, features, texts) + THUMBNAIL_WEIGHT * seen)
    return encoder.eval().requires_grad_(False)


def _new_encoder(captions: Sequence[str], config: DualEncoderConfig, generator: torch.Generator) -> OpenClipEncoder:
    """Fresh weights, and a tokenizer learned from the captions."""
    tokenizer = train_clip_tokenizer(captions, vocab_size=config.vocab_size, max_length=config.context)
    return OpenClipEncoder.new(
        tokenizer,
        size=(config.image_height, config.image_width),
        embed_dim=config.embed_dim,
        width=config.encoder_width,
        layers=config.encoder_layers,
        generator=generator,
        patch=8 if config.image_height % 16 or config.image_width % 16 else 16,
    )
