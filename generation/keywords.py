"""Keywords: an item in a few words, and a history in the most frequent of them (eq. 6)."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from generation.request import Item


@runtime_checkable
class KeywordExtractor(Protocol):
    """``phi_k`` of eq. 6: an instruction LLM behind the prompt ``p_k``, or :class:`TfidfKeywords`."""

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, the most telling first."""
        ...


def parts(caption: str) -> list[str]:
    """The caption's comma-separated parts: ``"Action, Sci-Fi in navy"`` -> ``["Action", "Sci-Fi", "navy"]``."""
    return [part.strip() for part in caption.replace(" in ", ", ").split(",") if part.strip()]


class TfidfKeywords:
    """The ``per_item`` parts of each caption with the highest TF-IDF over the catalogue: rare words say most."""

    def __init__(self, per_item: int = 6) -> None:
        self.per_item = per_item

    def __call__(self, items: Sequence[Item], captions: Sequence[str]) -> list[tuple[str, ...]]:
        """Keywords of each item, the most telling first; equal ones by alphabet."""
        if not any(parts(caption) for caption in captions):
            return [() for _ in captions]
        vectorizer = TfidfVectorizer(analyzer=parts, norm=None)  # type: ignore[arg-type]
        table = vectorizer.fit_transform(captions).tocsr()
        words = vectorizer.get_feature_names_out()
        found = []
        for row in range(table.shape[0]):
            columns = table.indices[table.indptr[row] : table.indptr[row + 1]]
            scores = table.data[table.indptr[row] : table.indptr[row + 1]]
            best = columns[np.lexsort((columns, -scores))][: self.per_item]
            found.append(tuple(str(words[i]) for i in best))
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
