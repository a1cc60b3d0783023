"""The soft preference: rows of the condition that a language model with a trained prefix reads from a prompt."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.language.prefix import prefix_of, with_prefix
from generation.precision import to_single_precision


class SoftPreference(nn.Module):
    """A frozen language model whose last states become rows of the diffusion's condition (Shen et al. 2024, PMG).

    Trainable: a prefix of keys and values in every layer (P-tuning v2), ``soft_tokens`` input embeddings behind the
    prompt, and one linear layer from their last hidden states, side by side, to ``soft_rows`` rows. How four states
    become two rows is not published; side by side, every row sees all of them.

    Args:
        model: any causal LM of ``transformers``; it is shared, and never changed.
        tokenizer: the model's own.
        width: of the diffusion's condition.
        soft_tokens, soft_rows, prefix_tokens: see :class:`generation.systems.pmg.config.PmgConfig`.
        generator: draws the initial weights.

    Shapes:
        ``n`` prompts -> ``(n, soft_rows, width)``
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        width: int,
        soft_tokens: int,
        soft_rows: int,
        prefix_tokens: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.tokenizer, self.soft_rows, self.prefix_tokens = tokenizer, soft_rows, prefix_tokens
        words = model.get_input_embeddings().get_parameter("weight")
        hidden = int(model.config.hidden_size)
        # Without the head: over a vocabulary of 150,000 its logits would take more memory than everything else.
        self.model = with_prefix(model.eval().base_model, prefix_tokens, generator).eval()
        inputs = torch.randn(soft_tokens, hidden, generator=generator)
        # As long as the model's own embeddings, which is what its first layer expects.
        scale = words.norm(dim=1).mean().float().cpu() / inputs.norm(dim=1, keepdim=True)
        self.inputs = nn.Embedding.from_pretrained(inputs * scale, freeze=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            self.project = nn.Linear(soft_tokens * hidden, soft_rows * width)

    @property
    def trained(self) -> nn.ModuleDict:
        """What training changes and a saved generator holds."""
        return nn.ModuleDict({"prefix": prefix_of(self.model), "inputs": self.inputs, "project": self.project})

    def forward(self, prompts: Sequence[str]) -> Float[Tensor, "batch rows width"]:
        """Rows of the condition; the soft tokens stand behind each prompt, padding before it.

        Raises:
            ValueError: a prompt is longer than the model takes.
        """
        encoded = self.tokenizer(
            list(prompts), return_tensors="pt", padding=True, truncation=False, padding_side="left"
        ).to(self.inputs.weight.device)
        soft = self.inputs.weight.expand(len(prompts), -1, -1)
        self._check_length(prompts, encoded.attention_mask)
        words = self.model.get_input_embeddings()(encoded.input_ids)
        mask = torch.cat([encoded.attention_mask, encoded.attention_mask.new_ones(soft.shape[:2])], dim=1)
        states = self.model(
            inputs_embeds=torch.cat([words, soft.to(words.dtype)], dim=1),
            attention_mask=mask,
            # Real tokens are counted, so that padding moves nothing; peft counts the prefix itself.
            position_ids=(mask.cumsum(1) - 1).clamp_min(0),
        ).last_hidden_state
        read = to_single_precision(states[:, -soft.shape[1] :]).flatten(1)
        return self.project(read).unflatten(1, (self.soft_rows, -1))

    def _check_length(self, prompts: Sequence[str], mask: Tensor) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        longest = int(mask.sum(1).argmax())
        behind = len(self.inputs.weight) + self.prefix_tokens
        if limit is not None and int(mask[longest].sum()) + behind > limit:
            raise ValueError(
                f"the prompt {prompts[longest][:60]!r}… has {int(mask[longest].sum())} tokens, with {behind} of prefix "
                f"and soft tokens more than the {limit} that the language model takes: shorten the captions or the "
                "prompt's template, or lower pmg.preference_keywords"
            )
