"""The door to instruction LLMs: prompts in, greedy answers out, through the tokenizer's chat template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.checkpoint import reading_weights

EXAMPLE = "Qwen/Qwen2.5-0.5B-Instruct"
"""Named in the message about a model that is not there."""


@dataclass(frozen=True)
class Answer:
    """An LLM's text, and whether the LLM ended it itself or was stopped."""

    text: str
    finished: bool


class InstructionModel:
    """A causal LM that follows instructions: Qwen2.5-Instruct, or any other whose tokenizer has a chat template.

    Decoding is greedy whatever the folder's generation settings are: the same prompts in the same order have the same
    answers.

    Args:
        model: on the device where it runs; it is put into eval mode.
        tokenizer: with a chat template and an end or padding token.
        batch_size: prompts at a time, those of similar length together.
        max_new_tokens: tokens after which an answer is stopped.
        progress: show a bar.

    Raises:
        ValueError: the tokenizer has no chat template.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        batch_size: int = 8,
        max_new_tokens: int = 64,
        name: str = "the LLM",
        progress: bool = False,
    ) -> None:
        if not tokenizer.chat_template:
            raise ValueError(f"{name} has no chat template: name an instruction LLM such as {EXAMPLE}")
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.batch_size, self.max_new_tokens, self.progress = batch_size, max_new_tokens, progress
        # A chat model ends its turn by another token than the tokenizer's end of text, or by one of several (Qwen2.5):
        # its generation settings know them.
        settings = model.generation_config
        eos: Any = settings.eos_token_id if settings else None
        eos = tokenizer.eos_token_id if eos is None else eos
        self.eos_ids: list[int] = [token for token in (eos if isinstance(eos, list) else [eos]) if token is not None]
        pad: Any = tokenizer.pad_token_id
        self.pad_id: int = self.eos_ids[0] if pad is None else pad

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **settings: Any
    ) -> "InstructionModel":
        """Read a folder of ``save_pretrained`` or a hub name; safetensors only.

        Raises:
            FileNotFoundError: there is none, or only a part of one; the message says how to get it.
            ValueError: its weights are pickled or do not read, or its tokenizer has no chat template.
        """
        with reading_weights("instruction LLM", source, example=EXAMPLE):
            tokenizer = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True)
        return cls(model.to(device), tokenizer, name=str(source), **settings)

    @torch.no_grad()
    def answer(self, prompts: Sequence[str]) -> list[Answer]:
        """One answer a prompt, in order.

        Raises:
            ValueError: a prompt and its answer are longer than the model takes.
        """
        chats = [self._encode(prompt) for prompt in prompts]
        # Similar lengths together: little padding.
        order = sorted(range(len(chats)), key=lambda i: len(chats[i]))  # stable: equal lengths keep their order
        if order:  # the longest one, so that nothing fails after hours
            self._check(prompts[order[-1]], len(chats[order[-1]]))
        answers: dict[int, Answer] = {}
        starts = range(0, len(order), self.batch_size)
        for start in tqdm(starts, desc="asking the LLM", unit="batch", disable=not self.progress):
            rows = order[start : start + self.batch_size]
            answers |= zip(rows, self._generate([chats[row] for row in rows]), strict=True)
        return [answers[row] for row in range(len(prompts))]

    def _encode(self, prompt: str) -> list[int]:
        """Token ids of the prompt in the chat template."""
        chat = [{"role": "user", "content": prompt}]
        # `enable_thinking` is a word of Qwen3's template; others do not read it.
        text: Any = self.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return self.tokenizer(text, add_special_tokens=False).input_ids  # the template has written them

    def _check(self, prompt: str, length: int) -> None:
        """Refuse a prompt of ``length`` tokens that leaves no room for its answer: transformers would only warn."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and length + self.max_new_tokens > most:
            raise ValueError(
                f"the prompt {prompt[:60]!r}… has {length} tokens and its answer up to {self.max_new_tokens}, more "
                f"than the {most} that {self.name} takes: shorten the prompt file or the items' texts"
            )

    def _generate(self, chats: Sequence[Sequence[int]]) -> list[Answer]:
        """Answers of one batch."""
        longest = max(map(len, chats))
        ids = torch.full((len(chats), longest), self.pad_id)
        mask = torch.zeros_like(ids)
        for row, chat in enumerate(chats):  # padding on the left: the answer begins where the prompt ends
            ids[row, longest - len(chat) :] = torch.tensor(chat)
            mask[row, longest - len(chat) :] = 1
        # Whatever is not set here is taken from the folder's own settings, which may ask for sampling and penalties.
        greedy = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            eos_token_id=self.eos_ids or None,
            pad_token_id=self.pad_id,
        )
        device = self.model.device
        tokens: Any = self.model.generate(  # type: ignore[operator]
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=greedy
        )
        return [self._decode(row) for row in tokens[:, longest:].tolist()]

    def _decode(self, ids: list[int]) -> Answer:
        """The text up to the first end token; behind it stands padding."""
        end = next((position for position, token in enumerate(ids) if token in self.eos_ids), None)
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        return Answer(str(text), finished=end is not None)
