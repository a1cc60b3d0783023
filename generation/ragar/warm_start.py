"""The warm start: supervised training of mapper, [IMG] rows and text projection, before any reward (as in GILL)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import WarmStartConfig
from generation.ragar.reflection_log import ReflectionLog
from generation.training import batches, one_cycle

BATCH_SIZE = 32
"""Items a step."""
CAPTION_SHARE = 0.5
"""Share of the prompts that hold the caption."""


def warm_start(ragar: Ragar, config: WarmStartConfig, log: ReflectionLog, *, progress: bool = True) -> None:
    """Train the mapper to translate a picture's feature into the text encoder's states of its caption, as GILL does.

    Every item of the gallery that has a picture is an example, and its own retrieved item: P_ret is the item's visual
    feature, the target is the caption's states. Half of the prompts hold the caption, so that the mapper learns from
    words; the others do not, so that it learns from P_ret. For a history it will then mix what the retrieved pictures
    look like with the reference's words.

    Where the backbone has rows of pictures, these are the mapper's target. From P_ret they are known before any
    training; prompts with a caption come without P_ret, so that the mapper learns to say a picture's rows in words.

    The calibrator is not trained: it is no part of this loss, and stays the identity.
    """
    # One generator for batches and captions, drawn by turns: the order is part of the result.
    generator = torch.Generator().manual_seed(config.seed)
    rows = ragar.gallery.pictured.nonzero()[:, 0]
    parameters = [value for name, value in ragar.trained_parts().items() if not name.startswith("calibrator")]
    optimizer = torch.optim.AdamW(parameters, lr=config.warm_start_learning_rate)
    schedule = one_cycle(optimizer, config.warm_start_steps)
    steps = batches(len(rows), BATCH_SIZE, config.warm_start_steps, generator)
    bar = tqdm(steps, total=config.warm_start_steps, desc="warm start", unit="step", disable=not progress)
    for step, indices in enumerate(bar):
        with_caption = (torch.rand(len(indices), generator=generator) < CAPTION_SHARE).tolist()
        loss = warm_start_loss(ragar, rows[indices], with_caption)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        if step % 10 == 0:
            log.curves.add("warm start: distance to the caption's states", step, loss.item())


def warm_start_loss(ragar: Ragar, rows: Int[Tensor, " batch"], with_caption: Sequence[bool]) -> Float[Tensor, ""]:
    """E_d of pictured items against :meth:`generation.ragar.ragar.Ragar.targets`, in the form of L_sem (eq. 14).

    Args:
        ragar: the generator.
        rows: gallery rows of the items.
        with_caption: whether an item's prompt holds its caption; otherwise it holds nothing.
    """
    captions = [ragar.gallery.captions[row] for row in rows.tolist()]
    prompts = [
        ragar.prompt((), caption if shown else "") for caption, shown in zip(captions, with_caption, strict=True)
    ]
    text_states, image_states = ragar.language(prompts)
    p_ret = ragar.centred_features(rows).to(image_states)
    if ragar.backbone.picture_tokens is not None:
        p_ret = p_ret * ~torch.tensor(with_caption)[:, None].to(p_ret.device)
    states, target = ragar.targets(rows)
    mapped = ragar.map(image_states, p_ret)
    return F.mse_loss(mapped, target) + F.mse_loss(ragar.project_text(text_states).mean(1), states.mean(1))
