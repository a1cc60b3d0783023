"""The door to instruction LLMs: prompts in, greedy answers out, through the tokenizer's chat template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.checkpoint import weights_of

EXAMPLE = "Qwen/Qwen2.5-0.5B-Instruct"


@dataclass(frozen=True)
class Answer:
    """What an LLM wrote, and whether it ended by itself."""

    text: str
    finished: bool


class InstructionModel:
    """A causal LM that answers: Qwen2.5-Instruct, or any other whose tokenizer has a chat template.

    Greedy whatever the folder's generation settings are, so the same prompts in the same order give the same answers.

    Args:
        model: on the device where it shall run; it is put into eval mode.
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
        settings = model.generation_config
        ends: Any = settings.eos_token_id if settings else None
        ends = tokenizer.eos_token_id if ends is None else ends
        self.ends: list[int] = [end for end in (ends if isinstance(ends, list) else [ends]) if end is not None]
        padding: Any = tokenizer.pad_token_id
        self.padding: int = self.ends[0] if padding is None else padding

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **settings: Any
    ) -> "InstructionModel":
        """From a folder of ``save_pretrained`` or a hub name; safetensors only.

        Raises:
            FileNotFoundError: there is none, or only a part of one; the sentence says how to get it.
            ValueError: its weights are pickled or do not read, or its tokenizer has no chat template.
        """
        with weights_of("instruction LLM", source, example=EXAMPLE):
            tokenizer = AutoTokenizer.from_pretrained(source)
            model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True)
        return cls(model.to(device), tokenizer, name=str(source), **settings)

    @torch.no_grad()
    def answer(self, prompts: Sequence[str]) -> list[Answer]:
        """One answer a prompt, in order.

        Raises:
            ValueError: a prompt and its answer are longer than the model takes.
        """
        chats = [self._ids(prompt) for prompt in prompts]
        order = sorted(range(len(chats)), key=lambda i: len(chats[i]))  # stable: equal lengths keep their order
        if order:
            self._check(prompts[order[-1]], len(chats[order[-1]]))
        answers: dict[int, Answer] = {}
        starts = range(0, len(order), self.batch_size)
        for start in tqdm(starts, desc="asking the LLM", unit="batch", disable=not self.progress):
            rows = order[start : start + self.batch_size]
            answers |= zip(rows, self._batch([chats[row] for row in rows]), strict=True)
        return [answers[row] for row in range(len(prompts))]

    def _ids(self, prompt: str) -> list[int]:
        chat = [{"role": "user", "content": prompt}]
        # `enable_thinking` is a word of Qwen3's template; others do not read it.
        text: Any = self.tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def _check(self, prompt: str, length: int) -> None:
        most = getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and length + self.max_new_tokens > most:
            raise ValueError(
                f"the prompt {prompt[:60]!r}… has {length} tokens and its answer up to {self.max_new_tokens}, more "
                f"than the {most} that {self.name} takes: shorten the prompt file or the items' texts"
            )

    def _batch(self, chats: Sequence[Sequence[int]]) -> list[Answer]:
        longest = max(map(len, chats))
        ids = torch.full((len(chats), longest), self.padding)
        mask = torch.zeros_like(ids)
        for row, chat in enumerate(chats):  # padding on the left: the answer begins where the prompt ends
            ids[row, longest - len(chat) :] = torch.tensor(chat)
            mask[row, longest - len(chat) :] = 1
        # Everything that a folder's own generation settings could turn into sampling or a penalty is said here.
        greedy = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            eos_token_id=self.ends or None,
            pad_token_id=self.padding,
        )
        device = self.model.device
        made: Any = self.model.generate(  # type: ignore[operator]
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=greedy
        )
        return [self._read(row) for row in made[:, longest:].tolist()]

    def _read(self, ids: list[int]) -> Answer:
        end = next((at for at, token in enumerate(ids) if token in self.ends), None)
        text = self.tokenizer.decode(ids[:end], skip_special_tokens=True)
        return Answer(str(text), finished=end is not None)
