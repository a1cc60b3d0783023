"""Training of the backbone that edits: to find a picture from its copy in other colours, its words and feature."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from generation.backbone.backbone import Backbone, DDIMScheduler, UNet2DConditionModel
from generation.backbone.config import UNetConfig
from generation.backbone.corruption import as_reference, squared
from generation.backbone.edit import PATCH, EditUNet, PatchCodec, PictureTokens
from generation.backbone.forward_process import noised
from generation.backbone.paraphrase import condition
from generation.backbone.unet import noise_scheduler, unet_training
from generation.encoders.dual import OpenClipEncoder
from generation.encoders.encoder import ImageEncoder, encode_in_blocks
from generation.encoders.text_tower import clip_text_model
from generation.pictures import to_float
from generation.precision import to_single_precision
from generation.training import Curves, Resume

FEATURE_NOISE = 0.3
"""Highest deviation of the noise on a picture's feature, in units of the features' own: a preference is never exact."""
WITHOUT_PICTURE = 0.2
"""Share of examples whose tokens are those of no picture."""
FROM_NOISE = 0.5
"""Share of examples at the very last timestep, where sampling begins and a single step ends."""

PALETTE = 3.0
"""Weight of :func:`palette_loss`."""


class Editor(nn.Module):
    """What is trained together: the UNet, and the layer that makes rows of a picture's feature."""

    def __init__(self, unet: EditUNet, tokens: PictureTokens) -> None:
        super().__init__()
        self.unet, self.tokens = unet, tokens


def edit_loss(
    editor: Editor,
    scheduler: DDIMScheduler,
    clean: Float[Tensor, "n 3 height width"],
    reference: Float[Tensor, "n 3 height width"],
    text_states: Float[Tensor, "n rows condition"],
    features: Float[Tensor, "n dim"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """:func:`edit_error` under words and picture tokens, some of which are inexact or left out.

    Args:
        editor: UNet and picture tokens.
        scheduler: the noise schedule, with zero terminal SNR.
        clean: pictures in [-1, 1].
        reference: the same pictures in other colours and light.
        text_states: the condition's rows of words.
        features: of the clean pictures.
        generator: of noise on features, tokens left out, and what :func:`edit_error` draws, in this order.
    """
    scale = FEATURE_NOISE * torch.rand(len(clean), 1, generator=generator) * editor.tokens.spread
    noisy = features + scale * torch.randn(features.shape, generator=generator)
    absent = torch.rand(len(clean), 1, generator=generator) < WITHOUT_PICTURE
    rows = editor.tokens(torch.where(absent, editor.tokens.mean, noisy))
    patches, beside = (F.pixel_unshuffle(pictures, PATCH) for pictures in (clean, reference))
    return edit_error(editor.unet, scheduler, patches, beside, torch.cat([rows, text_states], dim=1), generator)


def edit_error(
    unet: UNet2DConditionModel,
    scheduler: DDIMScheduler,
    clean: Float[Tensor, "n channels h w"],
    reference: Float[Tensor, "n channels h w"],
    condition: Float[Tensor, "n rows width"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """Squared error of what the UNet predicts, and a tenth of its absolute error, alike at every noise level.

    Half of the examples are at the last timestep, which holds nothing of the picture: there the network must take
    shapes from the reference, colours and light from the condition, as it will when it is used.

    Args:
        unet: sees ``[noisy, reference]``.
        scheduler: the noise schedule; its configuration says what the UNet predicts.
        clean: latents, of the small backbone the pixels in patches.
        reference: latents of the same pictures in other colours and light.
        condition: all rows.
        generator: of timesteps and noise.
    """
    n, steps = len(clean), len(scheduler.alphas_cumprod)
    t = torch.randint(0, steps, (n,), generator=generator)
    t = torch.where(torch.rand(n, generator=generator) < FROM_NOISE, steps - 1, t).to(clean.device)
    # Drawn on the CPU whatever the device: the same seed gives the same noise on every machine.
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    noisy, target = noised(scheduler, clean, t, noise)
    sample = torch.cat([noisy, reference], dim=1).to(condition.dtype)
    predicted = to_single_precision(unet(sample, t, encoder_hidden_states=condition).sample)
    return F.mse_loss(predicted, target) + 0.1 * F.l1_loss(predicted, target)


def palette_loss(
    editor: Editor,
    scheduler: DDIMScheduler,
    reference: Float[Tensor, "n 3 height width"],
    others: Float[Tensor, "n 3 height width"],
    text_states: Float[Tensor, "n rows condition"],
    features: Float[Tensor, "n dim"],
    generator: torch.Generator,
) -> Float[Tensor, ""]:
    """How far a reference's mean colour is from that of the other picture whose words and feature it is given.

    :func:`edit_error` knows the picture to be found, and that the reference is often near it: what it teaches goes part
    of the way. In use the condition is of other pictures.

    Args:
        editor: UNet and picture tokens.
        scheduler: the noise schedule, with zero terminal SNR.
        reference: pictures in [-1, 1], as they are.
        others: the pictures of the condition, in [-1, 1].
        text_states: the condition's rows of words.
        features: of the others.
        generator: of noise.
    """
    last = torch.full((len(reference),), len(scheduler.alphas_cumprod) - 1)
    beside = F.pixel_unshuffle(reference, PATCH)
    sample = torch.cat([torch.randn(beside.shape, generator=generator), beside], dim=1)
    condition = torch.cat([editor.tokens(features), text_states], dim=1)
    patches = editor.unet(sample, last, encoder_hidden_states=condition).sample.clamp(-1, 1)
    means = F.pixel_shuffle(patches, PATCH).mean((2, 3))
    return F.mse_loss(means, others.mean((2, 3)))


def train_edit(
    captions: Sequence[str],
    images: UInt8[Tensor, "n 3 height width"],
    encoder: OpenClipEncoder,
    config: UNetConfig,
    *,
    curves: Curves,
    visual: ImageEncoder | None = None,
    initial: Backbone | None = None,
    resume: Resume | None = None,
    progress: bool = True,
) -> Backbone:
    """Train the UNet that edits, and its picture tokens, on the frozen dual encoder's words and features, with an EMA.

    From fresh weights every second batch is pressed into squares, so that other frames than the pictures' are known.

    Args:
        captions: of the pictures.
        images: of one size, a multiple of 8 a side.
        encoder: makes the condition's rows of words, and the features that become picture tokens.
        config: the section ``backbone``.
        curves: of the loss.
        visual: whose features, at length 1, become picture tokens; by default the dual encoder's.
        initial: whose UNet and picture tokens to begin with; by default fresh ones. Tokens of features of another width
            are fresh ones.
        resume: where an unfinished training is kept.
        progress: show bars.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)  # not the dual encoder's
    features = encode_in_blocks(encoder if visual is None else visual, images)
    features = features if visual is None else F.normalize(features, dim=-1)
    editor = new_editor(config, features, generator, initial)
    text_encoder, tokenizer = clip_text_model(encoder), encoder.tokenizer.tokenizer
    scheduler = noise_scheduler("sample")
    squares = initial is None  # a UNet that is learned for every catalogue must know other frames, too
    training = unet_training(
        editor, config, examples=len(captions), generator=generator, curves=curves, resume=resume, progress=progress
    )
    for rows in training:
        clean = to_float(images[rows]) * 2 - 1
        others = to_float(images[torch.randint(len(images), (len(rows),), generator=generator)]) * 2 - 1
        if squares and training.step % 2:
            clean, others = squared(clean, PATCH), squared(others, PATCH)
        indices: list[int] = rows.tolist()
        text_states = condition([captions[i] for i in indices], text_encoder, tokenizer, generator)
        reference = as_reference(clean, others, generator)
        loss = edit_loss(editor, scheduler, clean, reference, text_states, features[rows], generator)
        # The batch's first half under its second half's words and features.
        half = max(1, len(rows) // 2)
        of_others = (clean[:half], clean[-half:], text_states[-half:], features[rows[-half:]])
        training.update(loss + PALETTE * palette_loss(editor, scheduler, *of_others, generator))
    trained = training.average
    return Backbone.assemble(
        codec=PatchCodec(PATCH, 3 * PATCH**2),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=trained.unet,
        scheduler=scheduler,
        size=(config.image_height, config.image_width),
        picture_tokens=trained.tokens,
    )


def new_editor(
    config: UNetConfig, features: Float[Tensor, "n dim"], generator: torch.Generator, initial: Backbone | None = None
) -> Editor:
    """What is to be trained: fresh, or an initial backbone's; its tokens are fresh if these features are no such ones.

    Raises:
        ValueError: the initial backbone is of another kind.
    """
    # Copies: the initial backbone stays as it is.
    unet, tokens = deepcopy((None, None) if initial is None else (initial.pipeline.unet, initial.picture_tokens))
    if initial is not None and not (isinstance(tokens, PictureTokens) and isinstance(unet, EditUNet)):
        raise ValueError("backbone.start names a backbone that is no small one that edits: take package, or scratch")
    # diffusers and torch initialise weights from the global generator; it is seeded from ours and put back behind.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        unet = unet or EditUNet(
            sample_size=max(config.image_height, config.image_width) // PATCH,
            cross_attention_dim=config.encoder_width,
            block_out_channels=tuple(config.unet_widths),
            reference_rows=config.picture_rows,
        )
        if not isinstance(tokens, PictureTokens) or tokens.dim != features.shape[1]:
            tokens = PictureTokens(features.shape[1], config.picture_rows, config.encoder_width).fit(features)
    return Editor(unet, tokens).train().requires_grad_(True)
