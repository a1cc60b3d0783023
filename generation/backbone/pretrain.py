"""The small backbone, learned from a catalogue: dual encoder, codec, conditional UNet and language model.

Budgets are steps, not seconds, so that the result does not depend on the machine's load.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from generation.backbone.backbone import (
    Backbone,
    DDIMScheduler,
    LinearCodec,
    Prediction,
    UNet2DConditionModel,
    noise_scheduler,
    small_unet,
)
from generation.encoders.dual import OpenClipEncoder, clip_text_model, train_clip_tokenizer
from generation.pictures import to_float
from generation.training import Curves, Resume, Training

WRONG_FROM = 0.4
"""sigma/alpha from which on the colours of a noisy latent may be wholly wrong: image-to-image of strength 1/4 begins
there, so that at that strength already the palette is the words', and most of the shapes are the reference's."""
LEAST_VOCABULARY = 514
"""Of the text encoder's tokenizer: two special tokens, the 256 bytes, and these again as ends of words."""


@dataclass(frozen=True)
class PretrainConfig:
    """The small backbone's shape and budget."""

    image_height: int = 96
    """Pixels, a multiple of 8 and of the codec's patch."""
    image_width: int = 64
    """Pixels, a multiple of 8 and of the codec's patch."""
    latent_channels: int = 32
    """Channels of the codec's latent: 3 for the base, the rest principal components of 8x8 patches."""
    unet_widths: tuple[int, ...] = (64, 128)
    """Channels of each UNet level."""
    encoder_width: int = 128
    """Width of both towers of the dual encoder, and of the cross-attention."""
    encoder_layers: int = 3
    """Transformer layers of each tower."""
    embed_dim: int = 64
    """Width of the joint space of pictures and words."""
    vocab_size: int = 2048
    """Most tokens of the tokenizer that is learned from the catalogue."""
    context: int = 32
    """Tokens of a caption, padding included."""
    encoder_steps: int = 200
    """Training steps of the dual encoder."""
    unet_steps: int = 600
    """Training steps of the UNet."""
    batch_size: int = 64
    """Pictures a step."""
    learning_rate: float = 1.5e-3
    """Peak of the schedule, for both."""
    prediction: Prediction = "v"
    """What the UNet says of a noisy latent: the velocity ``v``, or the noise ``epsilon``, which needs more steps."""
    min_snr: float = 5.0
    """gamma of the min-SNR weights (Hang et al. 2023); 0 weighs every noise level alike."""
    ema: float = 0.9985
    """Highest decay of the moving average of the UNet's weights, which is what is kept; 0 keeps the last weights."""
    held_out: float = 0.0
    """Share of the pictures that neither dual encoder nor codec nor UNet sees, for judging them by."""
    save_every: int = 100
    """Steps after which a stopped training can go on; the result is the same."""
    seed: int = 0
    """Of weights, batches, noise and the pictures held out."""

    def conflicts(self) -> Iterator[str]:
        """Sizes that do not fit together, each as a sentence."""
        for name in ("image_height", "image_width"):
            if getattr(self, name) < 16 or getattr(self, name) % 8:
                yield f"{name} {getattr(self, name)} is no multiple of 8 from 16 on"
        if not 3 < self.latent_channels <= 195:
            yield f"latent_channels {self.latent_channels} must lie between 4 and 195: 3 are the base of each 8x8 patch"
        if not self.unet_widths or any(width < 16 or width % 16 for width in self.unet_widths):
            yield f"unet_widths {list(self.unet_widths)} must be one multiple of 16 or more: a width for each level"
        if self.encoder_width < 32 or self.encoder_width % 32:
            yield f"encoder_width {self.encoder_width} is no multiple of 32"
        if self.vocab_size < LEAST_VOCABULARY:
            yield f"vocab_size {self.vocab_size}: {LEAST_VOCABULARY} tokens are taken before the first merge"
        if self.learning_rate <= 0:
            yield f"learning_rate {self.learning_rate} must be positive"
        if self.min_snr < 0:
            yield f"min_snr {self.min_snr} must not be negative (0 is no weighting)"
        for name in ("ema", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                yield f"{name} {getattr(self, name)} must lie between 0 and 1, below 1"
        counts = ("encoder_layers", "embed_dim", "context", "encoder_steps", "unet_steps", "batch_size", "save_every")
        for name in counts:
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}"


def hold_out(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Which of ``n`` pictures are learned from (at least one) and which are kept for judging, in ascending order."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    kept = min(round(share * n), n - 1)
    return sorted(order[kept:]), sorted(order[:kept])


def shuffle_words(caption: str, generator: torch.Generator, keep: float = 0.8) -> str:
    """A paraphrase: the caption's comma-separated parts in another order, each kept with probability ``keep``."""
    parts = [part.strip() for part in caption.replace(" in ", ", ").split(",") if part.strip()]
    order = torch.randperm(len(parts), generator=generator).tolist()
    kept = [parts[i] for i in order if torch.rand((), generator=generator) < keep]
    return ", ".join(kept or parts[:1])


def train_dual_encoder(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    config: PretrainConfig,
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


def augment(images: Float[Tensor, "n 3 height width"], generator: torch.Generator) -> Tensor:
    """Shifts by up to 4 pixels and a little noise: a generated picture is never pixel-exact."""
    dy, dx = torch.randint(-4, 5, (2,), generator=generator).tolist()
    noise = 0.03 * torch.rand((), generator=generator) * torch.randn(images.shape, generator=generator)
    return (torch.roll(images, (dy, dx), dims=(-2, -1)) + noise).clamp(0, 1)


def recolour(
    images: Float[Tensor, "n 3 height width"], others: Float[Tensor, "n 3 height width"], generator: torch.Generator
) -> Float[Tensor, "n 3 height width"]:
    """Each picture in (a random share of) another's palette: channels' means and deviations are carried over.

    With probability one half the channels are permuted first. Pictures in [-1, 1].
    """
    permuted = torch.stack([image[torch.randperm(3, generator=generator)] for image in images])
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    source = torch.where(flip, permuted, images)
    mean, std = source.mean((2, 3), keepdim=True), source.std((2, 3), keepdim=True) + 1e-3
    to_mean, to_std = others.mean((2, 3), keepdim=True), others.std((2, 3), keepdim=True)
    share = torch.rand(len(images), 1, 1, 1, generator=generator)
    return source.lerp((source - mean) / std * to_std + to_mean, share).clamp(-1, 1)


def denoising_loss(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    clean: Tensor,
    wrong: Tensor,
    states: Tensor,
    generator: torch.Generator,
    *,
    gamma: float = 5.0,
) -> Tensor:
    """Squared error of the scheduler's prediction that also asks for the palette which the words name.

    The noisy input is made from a *recoloured* latent, the target from the true one: image-to-image starts from a
    reference whose colours are not those that are wanted, so the model must learn to take colour from the condition and
    shape from the input. A DDIM trajectory shrinks a wrong start in proportion to sigma/alpha, so the error is scaled
    by min(1, sigma / (alpha * WRONG_FROM)): the start of a trajectory that begins there may be wholly wrong. Without
    the error this is the usual loss. The target is the v or the epsilon that leads from the noisy latent to the clean
    one.

    ``gamma``: min-SNR weights (Hang et al. 2023), min(SNR, gamma) / (SNR + 1) for v and min(SNR, gamma) / SNR for
    epsilon: both weigh the error of the clean latent by min(SNR, gamma). 0 weighs every step alike.
    """
    alpha_bar = scheduler.alphas_cumprod
    t = torch.randint(0, len(alpha_bar), (len(clean),), generator=generator)
    alpha, sigma = (value.sqrt()[:, None, None, None] for value in (alpha_bar[t], 1 - alpha_bar[t]))
    noise = torch.randn(clean.shape, generator=generator)
    reach = (sigma / alpha.clamp_min(1e-4) / WRONG_FROM).clamp(max=1)
    share = torch.rand(len(clean), 1, 1, 1, generator=generator) * reach
    start = clean + share * (wrong - clean)
    noisy = alpha * start + sigma * noise
    predicted = unet(noisy, t, encoder_hidden_states=states).sample
    v = scheduler.config["prediction_type"] == "v_prediction"
    target = (alpha * noisy - clean if v else noisy - alpha * clean) / sigma.clamp_min(1e-3)
    if not gamma:
        return F.mse_loss(predicted, target)
    snr = (alpha / sigma.clamp_min(1e-3)) ** 2
    weight = snr.clamp(max=gamma) / (snr + 1 if v else snr)
    # zero terminal SNR gives weight 0 at the last step, where v is all there is to learn from
    return (weight.clamp_min(0.05) * (predicted - target) ** 2).mean()


def train_unet(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    encoder: OpenClipEncoder,
    config: PretrainConfig,
    *,
    curves: Curves,
    resume: Resume | None = None,
    progress: bool = True,
) -> Backbone:
    """Codec by principal components, then the UNet on the frozen text encoder's states, with an EMA of its weights.

    Called again with the same arguments, a training that was stopped goes on where ``resume`` kept it and ends at the
    same bits; the caller deletes what is kept when it has the result.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    codec = LinearCodec(latent_channels=config.latent_channels)
    codec.fit(to_float(images[torch.randperm(len(images), generator=generator)[:2000]]) * 2 - 1)
    text_encoder, tokenizer = clip_text_model(encoder), encoder.tokenizer.tokenizer
    unet = small_unet(
        latent_channels=config.latent_channels,
        latent_size=(config.image_height // 8, config.image_width // 8),
        cross_attention_dim=config.encoder_width,
        widths=config.unet_widths,
        generator=generator,
    )
    scheduler = noise_scheduler(config.prediction)
    training = Training(
        "UNet: denoising loss",
        unet,
        examples=len(captions),
        batch_size=config.batch_size,
        steps=config.unet_steps,
        learning_rate=config.learning_rate,
        weight_decay=0.01,
        generator=generator,
        curves=curves,
        average=config.ema,
        resume=resume,
        progress=progress,
    )
    for rows in training:
        clean = to_float(images[rows]) * 2 - 1
        others = to_float(images[torch.randint(len(images), (len(rows),), generator=generator)]) * 2 - 1
        picked: list[int] = rows.tolist()
        states = condition([captions[i] for i in picked], text_encoder, tokenizer, generator)
        latents, wrong = codec.encode(clean).latents, codec.encode(recolour(clean, others, generator)).latents
        training.learn(denoising_loss(unet, scheduler, latents, wrong, states, generator, gamma=config.min_snr))
    return Backbone.assemble(
        codec=codec,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=training.average,
        scheduler=scheduler,
        size=(config.image_height, config.image_width),
    )


def condition(
    captions: Sequence[str], text_encoder: nn.Module, tokenizer: Callable, generator: torch.Generator
) -> Float[Tensor, "n rows width"]:
    """Text states of paraphrased captions; 10 % are empty (for guidance).

    Half of the batches say it twice, because a personalised preference is longer than a caption.
    """

    def states() -> Tensor:
        texts = [
            "" if drop else shuffle_words(caption, generator) for caption, drop in zip(captions, empty, strict=True)
        ]
        ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            return text_encoder(ids).last_hidden_state

    empty = (torch.rand(len(captions), generator=generator) < 0.1).tolist()
    once = states()
    return once if torch.rand((), generator=generator) < 0.5 else torch.cat([once, states()], dim=1)
