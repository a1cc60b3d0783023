"""The words of a request: what the target is, what the user prefers, and the prompts that are made from both."""

from collections.abc import Sequence
from dataclasses import dataclass

from generation.gallery import Gallery
from generation.request import Explanation, Request
from generation.words.keywords import most_frequent


@dataclass(frozen=True)
class RequestKeywords:
    """Keywords of the target and of the preference."""

    target: tuple[str, ...]
    preference: tuple[str, ...]

    def single_prompt(self, repetitions: int) -> str:
        """The published prompt: the target's keywords, then the preference's, as often as it says."""
        return ", ".join((*self.target, *self.preference * repetitions))

    @property
    def target_text(self) -> str:
        """The target in words."""
        return ", ".join(self.target)

    @property
    def preference_text(self) -> str:
        """The preference in words; empty where no item of the history has a keyword."""
        return ", ".join(self.preference)


def request_keywords(gallery: Gallery, request: Request, *, n: int, history_length: int) -> RequestKeywords:
    """The target's keywords, or its caption where it has none, and the ``n`` most frequent ones of the history.

    Raises:
        ValueError: the history is empty.
        KeyError: an item is not in the gallery.
    """
    target = int(gallery.rows([request.reference]))
    history = gallery.rows(_recent(request, history_length)).tolist()
    preference, _ = most_frequent([gallery.keywords[row] for row in history], [1 / len(history)] * len(history), n)
    return RequestKeywords(gallery.keywords[target] or (gallery.captions[target],), preference)


def explanations(
    requests: Sequence[Request], keywords: Sequence[RequestKeywords], history_length: int
) -> list[Explanation]:
    """The items whose keywords were counted, all with one weight, and the preference's keywords."""
    histories = [_recent(request, history_length) for request in requests]
    return [
        Explanation(history, (1 / len(history),) * len(history), words.preference)
        for history, words in zip(histories, keywords, strict=True)
    ]


def _recent(request: Request, length: int) -> tuple[str, ...]:
    if not request.history:
        raise ValueError(
            f"user {request.user} has an empty history: a preference needs at least one item before the reference"
        )
    return request.history[-length:]
