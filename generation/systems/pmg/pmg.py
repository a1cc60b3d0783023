"""PMG: from a history to keywords and soft tokens, and the best of several pictures."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from generation.backbone.backbone import Backbone
from generation.backbone.config import SamplingConfig
from generation.checkpoint import read_tensors
from generation.encoders.dual import OpenClipEncoder
from generation.gallery import Gallery
from generation.pictures import to_float
from generation.request import Explanation, Request
from generation.systems.pmg.config import PmgConfig
from generation.systems.pmg.keywords import RequestKeywords, explanations, request_keywords
from generation.systems.pmg.soft_preference import SoftPreference
from generation.words.prompts import fill_prompt

LEAST_SIMILARITY = 1e-3
"""Cosines below count as this one: the logarithm of those of unrelated pictures and words, around 0, does not exist."""


class Pmg:
    """Generates a picture of a reference item for each repetition of the preference's keywords, and keeps the best.

    After Shen et al. 2024, "PMG: Personalized Multimodal Generation with Large Language Models". Trainable is the soft
    preference alone; language model, backbone, gallery and encoder are shared and never changed.

    Args:
        backbone: the Stable Diffusion pipeline that draws.
        soft: the rows of the condition that are read from a prompt by the language model.
        gallery: pictures, captions and keywords of all items.
        encoder: the dual encoder that chooses the best picture.
        config: PMG's own settings.
        sampling: how many items of a history are read, and how pictures are sampled.
        prompt: the language model's template, see :func:`generation.words.prompts.preference_prompt`.

    Raises:
        ValueError: the soft rows leave no row of the context for words.
    """

    def __init__(
        self,
        backbone: Backbone,
        soft: SoftPreference,
        gallery: Gallery,
        encoder: OpenClipEncoder,
        config: PmgConfig,
        sampling: SamplingConfig,
        prompt: str,
    ) -> None:
        if config.soft_rows >= backbone.context:
            raise ValueError(
                f"pmg.soft_rows {config.soft_rows} leaves no row for words: the text encoder's context is "
                f"{backbone.context}"
            )
        self.backbone, self.soft, self.gallery, self.encoder = backbone, soft, gallery, encoder
        self.config, self.sampling, self.template = config, sampling, prompt

    def keywords(self, requests: Sequence[Request]) -> list[RequestKeywords]:
        """Keywords of each request's target and preference.

        Raises:
            ValueError: a history is empty.
        """
        n, length = self.config.preference_keywords, self.sampling.history_length
        return [request_keywords(self.gallery, request, n=n, history_length=length) for request in requests]

    def prompts(self, keywords: Sequence[RequestKeywords]) -> list[str]:
        """What the language model reads: p_g with the preference's keywords and the target's."""
        return [fill_prompt(self.template, words.preference, words.target_text) for words in keywords]

    def word_rows(self, keywords: Sequence[RequestKeywords], repetitions: int) -> Float[Tensor, "batch rows width"]:
        """Rows of the condition that are read from words, see ``PmgConfig.prompt``."""
        if self.config.prompt == "single":
            states = self.backbone.states([words.single_prompt(repetitions) for words in keywords])
            return states[:, : self.backbone.context - self.config.soft_rows]
        target = self.backbone.states([words.target_text for words in keywords])
        preference = self.backbone.states([words.preference_text for words in keywords])
        return torch.cat([target, *[preference] * repetitions], dim=1)

    @torch.no_grad()
    def generate(self, requests: Sequence[Request]) -> Float[Tensor, "n 3 height width"]:
        """Draw one picture a request, in [0, 1], on the CPU: the best of one for each of ``repetitions``."""
        if not requests:
            return torch.empty(0, 3, *self.backbone.size)
        keywords = self.keywords(requests)
        # One prompt at a time: how long the others of a batch are must not change a bit of these rows.
        soft = torch.cat([self.soft([prompt]) for prompt in self.prompts(keywords)])
        # A loop and not one batch: the repetitions have conditions of different lengths.
        conditions = [torch.cat([self.word_rows(keywords, n), soft], dim=1) for n in self.config.repetitions]
        candidates = torch.stack([self.render(condition, requests) for condition in conditions], dim=1)
        return best_of(candidates, self.scores(candidates, keywords))

    def render(
        self, condition: Float[Tensor, "n rows dim"], requests: Sequence[Request]
    ) -> Float[Tensor, "n 3 height width"]:
        """Draw pictures, on the CPU; the request's seed alone makes the initial noise, whatever the condition."""
        rows = self.gallery.rows([request.reference for request in requests])
        references, seeds = to_float(self.gallery.images[rows]), [request.seed for request in requests]
        images = self.backbone.draw(self.backbone.without_picture(condition), references, seeds, self.sampling)
        return self.gallery.keep(images, rows).cpu()

    def scores(
        self, candidates: Float[Tensor, "n m 3 height width"], keywords: Sequence[RequestKeywords]
    ) -> Float[Tensor, "n m"]:
        """The logarithms of a picture's cosines with the target's and, times a weight, with the preference's words.

        A cosine below :data:`LEAST_SIMILARITY` counts as that.
        """
        images = self.encoder.encode_images(candidates.flatten(0, 1)).cpu().unflatten(0, candidates.shape[:2])
        target = self.encoder.encode_texts([words.target_text for words in keywords])
        preference = self.encoder.encode_texts([words.preference_text for words in keywords])
        similarities = [torch.einsum("nmd,nd->nm", images, texts) for texts in (target, preference)]
        to_target, to_preference = (value.clamp_min(LEAST_SIMILARITY).log() for value in similarities)
        return to_target + self.config.preference_weight * to_preference

    def explain(self, requests: Sequence[Request]) -> list[Explanation]:
        """The items of the history that were read, each with the same weight, and the preference's keywords."""
        return explanations(requests, self.keywords(requests), self.sampling.history_length)

    def save_pretrained(self, folder: Path) -> None:
        """Write the settings as ``config.json``, the template as ``prompt.txt`` and what was trained.

        The frozen parts are not written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"pmg": asdict(self.config), "sampling": asdict(self.sampling)}
        (folder / "config.json").write_text(json.dumps(settings, indent=1))
        (folder / "prompt.txt").write_text(self.template, encoding="utf-8")
        trained = {name: value.detach().cpu().clone() for name, value in self.soft.trained.state_dict().items()}
        save_file(trained, folder / "model.safetensors")

    def load(self, folder: Path) -> None:
        """Read what was trained from a folder of :meth:`save_pretrained` into this generator.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it belongs to a generator of another configuration, or does not read.
        """
        trained, weights = self.soft.trained, read_tensors(folder / "model.safetensors")
        expected = {name: value.shape for name, value in trained.state_dict().items()}
        if expected != {name: value.shape for name, value in weights.items()}:
            raise ValueError(
                f"{folder} holds a PMG of another configuration: pmg.soft_tokens, soft_rows, prefix_tokens "
                "or the language model differ"
            )
        trained.load_state_dict(weights)


def best_of(
    candidates: Float[Tensor, "n m 3 height width"], scores: Float[Tensor, "n m"]
) -> Float[Tensor, "n 3 height width"]:
    """The picture of each row with the highest score, the first of equal ones."""
    return candidates[torch.arange(len(candidates)), scores.argmax(1)]
