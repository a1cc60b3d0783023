"""Eq. 7: a causal language model phi_g reads the prompt p_g and L [IMG] tokens, and gives E_txt and E_img."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.precision import to_single_precision
from generation.words.prompts import preference_prompt

PROMPT = preference_prompt()
"""The package's own p_g (``generation/words/templates/preference.txt``)."""


class LanguageModel(nn.Module):
    """A frozen causal LM whose vocabulary is extended by ``image_tokens`` trainable [IMG] tokens.

    The extension is a table of its own, appended to the prompt as input embeddings: the frozen model stays
    bit-identical, and only these rows are saved with the generator.

    Args:
        model: any ``transformers`` causal LM.
        tokenizer: the model's own.
        image_tokens: L, the number of [IMG] tokens.
        text_rows: how many of the prompt's last states make ``E_txt``. A causal state depends on all tokens before it,
            so the last ones cover the whole prompt; one number for all requests keeps ``E_txt`` free of padding.
        generator: draws the initial [IMG] rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        image_tokens: int,
        text_rows: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.text_rows = tokenizer, text_rows
        self.width = int(model.config.hidden_size)
        words = model.get_input_embeddings().get_parameter("weight")
        self.norm = float(words.norm(dim=1).mean())
        self.image_rows = nn.Parameter(torch.randn(image_tokens, self.width, generator=generator))
        self.renormalise()

    def renormalise(self) -> None:
        """Rescale the [IMG] rows to the mean norm of the frozen embeddings, as GILL does after each optimiser step."""
        with torch.no_grad():
            self.image_rows.mul_(self.norm / self.image_rows.norm(dim=1, keepdim=True).clamp_min(1e-12))

    def tokens(self, prompts: Sequence[str]) -> list[int]:
        """Number of tokens of each prompt."""
        return [len(ids) for ids in self.tokenizer(list(prompts), truncation=False).input_ids]

    def forward(
        self, prompts: Sequence[str], length: int | None = None
    ) -> tuple[Float[Tensor, "batch text width"], Float[Tensor, "batch images width"]]:
        """``E_txt`` and ``E_img`` (eq. 7). As in GILL, an [IMG] feature is hidden state plus input embedding.

        Args:
            prompts: texts without the [IMG] tokens.
            length: tokens to which they are padded on the left; by default those of the longest.

        Raises:
            ValueError: a prompt has fewer tokens than ``text_rows``, or more than the model takes.
        """
        # Padded on the left, so that every prompt's last states stand directly before the [IMG] tokens.
        encoded = self.tokenizer(
            list(prompts),
            return_tensors="pt",
            padding="longest" if length is None else "max_length",
            max_length=length,
            truncation=False,
            padding_side="left",
        )
        lengths = encoded.attention_mask.sum(1)
        if int(lengths.min()) < self.text_rows:
            shortest = int(lengths.argmin())
            raise ValueError(
                f"the prompt {prompts[shortest]!r} has {int(lengths[shortest])} tokens, fewer than the "
                f"{self.text_rows} text rows that are read: lengthen the prompt's template or lower text_rows"
            )
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and int(lengths.max()) + len(self.image_rows) > limit:
            longest = int(lengths.argmax())
            raise ValueError(
                f"the prompt {prompts[longest][:60]!r}… has {int(lengths[longest])} tokens and {len(self.image_rows)} "
                f"image tokens behind it, more than the {limit} that the language model takes: shorten the captions or "
                "the prompt's template, or lower n_keywords"
            )
        encoded = encoded.to(self.image_rows.device)
        words = self.model.get_input_embeddings()(encoded.input_ids)
        images = self.image_rows.expand(len(prompts), -1, -1)
        inputs = torch.cat([words, images.to(words.dtype)], dim=1)
        mask = torch.cat([encoded.attention_mask, encoded.attention_mask.new_ones(images.shape[:2])], dim=1)
        # Positions count the real tokens: models with absolute positions would otherwise count the padding too.
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        # Without the head: over a vocabulary of 150,000 its logits would take more memory than everything else.
        states = self.model.base_model(
            inputs_embeds=inputs, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        hidden = to_single_precision(states)
        split = words.shape[1]
        return hidden[:, split - self.text_rows : split], hidden[:, split:] + images
