"""Keywords of an item, and the most frequent ones of the retrieved items (eq. 6)."""

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
"""Most words of an item's own text in the LLM's prompt."""


@runtime_checkable
class KeywordExtractor(Protocol):
    """``phi_k`` of eq. 6: :class:`LlmKeywords` behind the prompt ``p_k``, or :class:`TfidfKeywords`."""

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, the most specific first."""
        ...


def split_phrases(caption: str) -> list[str]:
    """The caption's comma-separated phrases: ``"Action, Sci-Fi in navy"`` -> ``["Action", "Sci-Fi", "navy"]``."""
    return [phrase.strip() for phrase in caption.replace(" in ", ", ").split(",") if phrase.strip()]


def content_words(text: str) -> list[str]:
    """The words of a sentence in lower case without English stop words and single letters."""
    return [word for word in re.findall(r"\w[\w'-]+", text.lower()) if word not in ENGLISH_STOP_WORDS]


class TfidfKeywords:
    """The ``per_item`` phrases of each caption with the highest TF-IDF over the catalogue: rare ones are specific.

    Args:
        per_item: most keywords an item.
        split: splits a caption into candidates: :func:`split_phrases` for lists (``PaletteCaptioner``'s captions),
            :func:`content_words` for sentences.
    """

    def __init__(self, per_item: int = 6, split: Callable[[str], list[str]] = split_phrases) -> None:
        self.per_item, self.split = per_item, split

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, highest TF-IDF first; equal ones in alphabetical order."""
        candidates = _one_spelling([self.split(caption) for caption in captions])
        # scikit-learn raises on an empty vocabulary.
        if not any(candidates):
            return [() for _ in captions]
        vectorizer = TfidfVectorizer(analyzer=list, norm=None)  # type: ignore[arg-type]
        table = vectorizer.fit_transform(candidates).tocsr()  # (items, vocabulary)
        vocabulary = vectorizer.get_feature_names_out()  # in alphabetical order
        keywords = []
        for row in range(table.shape[0]):
            columns = table.indices[table.indptr[row] : table.indptr[row + 1]]
            scores = table.data[table.indptr[row] : table.indptr[row + 1]]
            best = columns[np.lexsort((columns, -scores))][: self.per_item]  # the last key is the first to sort by
            keywords.append(tuple(str(vocabulary[i]) for i in best))
        return keywords


def _one_spelling(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """The words of captions, each spelled as where it occurs first: ``Drama`` and ``drama`` are one keyword."""
    spelling: dict[str, str] = {}
    return [[spelling.setdefault(word.casefold(), word) for word in words] for words in captions]


class LlmKeywords:
    """Keywords by an instruction LLM, asked with the prompt p_k for caption and text (eq. 6).

    An item whose answer has no usable keyword (:func:`generation.words.answers.keywords_in`) has none: it counts with
    its retrieval weight, but adds no word.

    Args:
        model: the LLM.
        per_item: most keywords an item; ``{n}`` in the prompt.
        prompt: p_k, see :func:`generation.words.prompts.keyword_prompt`.
    """

    def __init__(self, model: InstructionModel, per_item: int = 6, prompt: str | None = None) -> None:
        self.model, self.per_item = model, per_item
        self.prompt = keyword_prompt() if prompt is None else prompt

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item in the LLM's order.

        Raises:
            ValueError: no item's answer has a usable keyword; the first one is quoted.
        """
        answers = self.model.answer(
            [
                self.prompt.format(caption=caption, text=first_words(item.text, TEXT_WORDS), n=self.per_item)
                for item, caption in zip(items, captions, strict=True)
            ]
        )
        keywords = [keywords_in(answer.text, most=self.per_item, finished=answer.finished) for answer in answers]
        if answers and not any(keywords):
            raise ValueError(
                f"{self.model.name} gave no usable keyword for any of {len(items)} items (to the first it answered "
                f"{answers[0].text[:80]!r}): try a larger instruction LLM, another keyword prompt, or TF-IDF"
            )
        return keywords


def most_frequent(
    keywords: Sequence[Sequence[str]], weights: Sequence[float], n: int
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The ``n`` most frequent keywords of the retrieved items and their frequencies, most frequent first.

    An item counts with its retrieval weight, so that a keyword's frequency lies in (0, 1]; ties keep the order of
    retrieval. With equal weights this is the paper's plain count divided by k.
    """
    counts: Counter[str] = Counter()
    for words, weight in zip(keywords, weights, strict=True):
        for word in dict.fromkeys(words):  # once an item; a set would lose the order
            if weight > 0:
                counts[word] += weight  # type: ignore[assignment]
    best = counts.most_common(n)
    return tuple(word for word, _ in best), tuple(float(weight) for _, weight in best)
