"""The warm start: supervised training of the mapper, before any reward."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from generation.ragar.ragar import Ragar
from generation.ragar.reflection_config import WarmStartConfig
from generation.training import Curves, batches, one_cycle


@dataclass
class ReflectionLog:
    """What the training did: curves, and how many groups gave no signal."""

    curves: Curves = field(default_factory=Curves)
    silent_groups: int = 0
    groups: int = 0


def warm_start(ragar: Ragar, config: WarmStartConfig, log: ReflectionLog, *, progress: bool = True) -> None:
    """Teach the mapper to put a picture's feature into the text encoder's words, as GILL aligns its own.

    Every item of the gallery is its own retrieved item: the prompt holds the caption in half of the cases and nothing
    else, P_ret is the item's own feature, the target are the caption's states. What comes out later for a history is a
    mixture of what its pictures look like and of the reference's words.
    """
    gallery = ragar.gallery
    generator = torch.Generator().manual_seed(config.seed)
    rows = gallery.pictured.nonzero()[:, 0]
    parameters = [p for name, p in ragar.trained_parts().items() if not name.startswith("calibrator")]
    optimizer = torch.optim.AdamW(parameters, lr=config.warm_start_learning_rate)
    schedule = one_cycle(optimizer, config.warm_start_steps)
    steps = batches(len(rows), 32, config.warm_start_steps, generator)
    for step, picked in enumerate(
        tqdm(steps, total=config.warm_start_steps, desc="warm start", unit="step", disable=not progress)
    ):
        chosen = rows[picked]
        captions = [gallery.captions[r] for r in chosen.tolist()]
        told = (torch.rand(len(chosen), generator=generator) < 0.5).tolist()
        text_states, image_states = ragar.language(
            [ragar.prompt((), caption if tell else "") for caption, tell in zip(captions, told, strict=True)]
        )
        mapped = ragar.mapper(image_states, ragar.centred(chosen).to(image_states))
        states = ragar.backbone.states(captions)
        loss = F.mse_loss(mapped, states) + F.mse_loss(ragar.project_text(text_states).mean(1), states.mean(1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        ragar.language.renormalise()
        if step % 10 == 0:
            log.curves.add("warm start: distance to the caption's states", step, loss.item())
