"""Keywords: an item in a few words, and a history in the most frequent of them (eq. 6)."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from generation.request import Item
from generation.words.answers import keywords_in
from generation.words.captions import first_words
from generation.words.instruction import InstructionModel
from generation.words.prompts import keyword_prompt

TEXT_WORDS = 150
"""Words of an item's own text that the LLM reads."""


@runtime_checkable
class KeywordExtractor(Protocol):
    """``phi_k`` of eq. 6: :class:`LlmKeywords` behind the prompt ``p_k``, or :class:`TfidfKeywords`."""

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, the most telling first."""
        ...


def parts(caption: str) -> list[str]:
    """The caption's comma-separated parts: ``"Action, Sci-Fi in navy"`` -> ``["Action", "Sci-Fi", "navy"]``."""
    return [part.strip() for part in caption.replace(" in ", ", ").split(",") if part.strip()]


def content_words(text: str) -> list[str]:
    """The words of a sentence that say something: no English stop words, no single letters, in lower case."""
    return [word for word in re.findall(r"\w[\w'-]+", text.lower()) if word not in ENGLISH_STOP_WORDS]


class TfidfKeywords:
    """The ``per_item`` parts of each caption with the highest TF-IDF over the catalogue: rare words say most.

    Args:
        per_item: how many.
        split: a caption into candidates: :func:`parts` for lists of words (``PaletteCaptioner``'s captions),
            :func:`content_words` for sentences.
    """

    def __init__(self, per_item: int = 6, split: Callable[[str], list[str]] = parts) -> None:
        self.per_item, self.split = per_item, split

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, the most telling first; equal ones by alphabet."""
        candidates = _one_spelling([self.split(caption) for caption in captions])
        if not any(candidates):
            return [() for _ in captions]
        vectorizer = TfidfVectorizer(analyzer=list, norm=None)  # type: ignore[arg-type]
        table = vectorizer.fit_transform(candidates).tocsr()
        words = vectorizer.get_feature_names_out()
        found = []
        for row in range(table.shape[0]):
            columns = table.indices[table.indptr[row] : table.indptr[row + 1]]
            scores = table.data[table.indptr[row] : table.indptr[row + 1]]
            best = columns[np.lexsort((columns, -scores))][: self.per_item]
            found.append(tuple(str(words[i]) for i in best))
        return found


def _one_spelling(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of captions, each spelled as where it occurs first: ``Drama`` and ``drama`` are one keyword."""
    spelling: dict[str, str] = {}
    return [[spelling.setdefault(word.casefold(), word) for word in words] for words in captions]


class LlmKeywords:
    """An instruction LLM behind the prompt p_k over caption and text (eq. 6).

    An item whose answer holds nothing usable (:func:`generation.words.answers.keywords_in`) has no keywords: it is counted
    with its retrieval weight, but says no word.

    Args:
        model: who is asked.
        per_item: most keywords an item; ``{n}`` in the prompt.
        prompt: p_k, see :func:`generation.words.prompts.keyword_prompt`.
    """

    def __init__(self, model: InstructionModel, per_item: int = 6, prompt: str | None = None) -> None:
        self.model, self.per_item = model, per_item
        self.prompt = keyword_prompt() if prompt is None else prompt

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item in the LLM's order.

        Raises:
            ValueError: no item's answer holds anything usable; the first one is quoted.
        """
        answers = self.model.answer(
            [
                self.prompt.format(caption=caption, text=first_words(item.text, TEXT_WORDS), n=self.per_item)
                for item, caption in zip(items, captions, strict=True)
            ]
        )
        found = [keywords_in(said.text, most=self.per_item, finished=said.finished) for said in answers]
        if answers and not any(found):
            raise ValueError(
                f"{self.model.name} gave no usable keyword for any of {len(items)} items (to the first it answered "
                f"{answers[0].text[:80]!r}): try a larger instruction LLM, another keyword prompt, or TF-IDF"
            )
        return found


def frequent(
    keywords: Sequence[Sequence[str]], weights: Sequence[float], n: int
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The ``n`` most frequent keywords of the retrieved items and their frequencies, most frequent first.

    An item counts with its retrieval weight, so that a keyword's frequency lies in (0, 1]; ties keep the order of
    retrieval. With equal weights this is the paper's plain count divided by k.
    """
    counts: Counter[str] = Counter()
    for words, weight in zip(keywords, weights, strict=True):
        for word in dict.fromkeys(words):
            if weight > 0:
                counts[word] += weight  # type: ignore[assignment]
    best = counts.most_common(n)
    return tuple(word for word, _ in best), tuple(float(weight) for _, weight in best)
