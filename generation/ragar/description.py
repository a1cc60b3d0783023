"""Keywords (eq. 6) and the texts made from them: the prompt p_g of eq. 7 and the text that E_g of eq. 9 encodes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase as Tokenizer

from generation.gallery import Gallery
from generation.ragar.config import RagarConfig
from generation.ragar.preference import Description
from generation.request import Explanation, Request
from generation.words.keywords import most_frequent
from generation.words.prompts import fill_prompt

Keywords = tuple[tuple[str, ...], tuple[float, ...]]
"""Keywords, the most frequent first, and their frequencies in (0, 1]."""


def describe(
    requests: Sequence[Request],
    retrieved: tuple[Tensor, Tensor, Tensor],
    *,
    gallery: Gallery,
    config: RagarConfig,
    template: str,
    tokenizer: Tokenizer,
    context: int,
    taste: Float[Tensor, "batch visual"] | None = None,
) -> Description:
    """Put a batch of requests into words, from the reference's caption and the keywords of the retrieved items.

    As printed, eq. 6-9 use keywords of the history only, so that every reference of a user would get the same image.
    Here p_g and the text behind E_g hold the reference's caption too.

    Args:
        requests: the batch.
        retrieved: as :func:`generation.ragar.history.retrieve` returns it.
        gallery: captions and keywords of the items.
        config: how keywords are chosen.
        template: p_g with its fields.
        tokenizer: of the text encoder that makes E_g.
        context: rows of E_g.
        taste: a taste vector a request; none by default.
    """
    rows, weights, p_ret = retrieved
    references = gallery.rows([request.reference for request in requests]).tolist()
    captions = [gallery.captions[row] for row in references]
    explanations: list[Explanation] = []
    keywords: list[Keywords] = []
    for request, item_rows, item_weights in zip(requests, rows.tolist(), weights.tolist(), strict=True):
        # A weight of 0 is padding: the history is shorter than k.
        items = [(row, weight) for row, weight in zip(item_rows, item_weights, strict=True) if weight > 0]
        words, frequencies = select_keywords(gallery, request, items, config)
        keywords.append((words, frequencies))
        ids = tuple(gallery.ids[row] for row, _ in items)
        explanations.append(Explanation(ids, tuple(weight for _, weight in items), words))
    return Description(
        prompts=tuple(
            fill_prompt(template, words, caption, frequencies)
            for caption, (words, frequencies) in zip(captions, keywords, strict=True)
        ),
        texts=tuple(", ".join((caption, *words)) for caption, (words, _) in zip(captions, keywords, strict=True)),
        row_weights=global_row_weights(captions, keywords, tokenizer, context),
        retrieved=p_ret,
        explanations=tuple(explanations),
        taste=torch.zeros_like(p_ret) if taste is None else taste,
    )


def select_keywords(
    gallery: Gallery, request: Request, retrieved: Sequence[tuple[int, float]], config: RagarConfig
) -> Keywords:
    """The ``n_keywords`` most frequent keywords w' of eq. 6, over the retrieved items or over the whole history.

    Args:
        gallery: keywords of each item.
        request: whose history is read where ``keywords_from`` is ``history``; its items count equally.
        retrieved: (gallery row, retrieval weight); a keyword's frequency is the sum of its items' weights.
        config: ``n_keywords``, ``keywords_from`` and ``history_length``.
    """
    if config.keywords_from == "retrieved":
        rows, weights = [row for row, _ in retrieved], [weight for _, weight in retrieved]
    else:
        rows = gallery.rows(request.history[-config.history_length :]).tolist()
        weights = [1 / len(rows)] * len(rows)
    return most_frequent([gallery.keywords[row] for row in rows], weights, config.n_keywords)


def global_row_weights(
    captions: Sequence[str],
    keywords: Sequence[tuple[Sequence[str], Sequence[float]]],
    tokenizer: Tokenizer,
    context: int,
) -> Float[Tensor, "batch context"]:
    """A weight for each row of E_g: 1 for the reference's caption, its frequency for a keyword, 0 for padding.

    Args:
        captions: of the references.
        keywords: the keywords behind each caption, and their frequencies.
        tokenizer: of the text encoder.
        context: rows of E_g; tokens beyond them are cut off, as the text encoder does.
    """
    weights = torch.zeros(len(captions), context)
    # Part by part, to know whose each token is. These are the tokens of the joined text, unless a part ends in
    # punctuation: then CLIP's pre-tokeniser may join it with the comma behind it, and there is one token fewer.
    texts = [
        [(caption, 1.0), *zip([f", {word}" for word in words], frequencies, strict=True)]
        for caption, (words, frequencies) in zip(captions, keywords, strict=True)
    ]
    # In one call, and each part once: a call a part takes longer than retrieval.
    parts = list(dict.fromkeys(part for text in texts for part, _ in text))
    tokens = tokenizer(parts, add_special_tokens=False).input_ids if parts else []
    length = dict(zip(parts, map(len, tokens), strict=True))
    for i, text in enumerate(texts):
        # 1 for the begin token and for the end token
        row = [1.0, *(weight for part, weight in text for _ in range(length[part])), 1.0][:context]
        weights[i, : len(row)] = torch.tensor(row)
    return weights
