"""The words of tables and report, each with its definition; no table shows a word that is not defined here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word of the report.

    Attributes:
        name: as the glossary's heading.
        definition: what it means, in a sentence or two.
        spellings: patterns (regular expressions) by which texts use it; by default its name.
    """

    name: str
    definition: str
    spellings: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The id of its definition in the page: ``term-v_glob``."""
        return "term-" + re.sub(r"\W+", "-", self.name.replace("Δ", "delta-").replace("σ", "sigma")).strip("-").lower()

    @property
    def pattern(self) -> str:
        """A regular expression without groups that finds the term as a whole word."""
        return rf"(?<![\w@])(?:{'|'.join(self.spellings or (re.escape(self.name),))})(?!\w)"


GLOSSARY: tuple[Term, ...] = (
    Term(
        "C", "How many items of a person's list are ranked again with new pictures.", (r"C(?= =)", "top C", "Recall@C")
    ),
    Term(
        "candidates",
        "The protocol in which every item of a person's original top C gets a new picture and those C are ranked "
        "again: what a shop could do that does not know the target.",
        ("`candidates`",),
    ),
    Term(
        "catalogue",
        "The protocol in which items get new pictures once, made for their audience, and the ranker is trained from "
        "scratch on them: whether they are better training data.",
        ("`catalogue`",),
    ),
    Term(
        "audience",
        "Of an item: people who chose it in training (`evaluation.audience` of them, drawn by seed), with what they "
        "chose before it. Where nobody did, people for whom the ranker scores it highest.",
        ("[Aa]udience",),
    ),
    Term(
        "sparse",
        "Of the held-out items those alone that have fewer than five training interactions, cold ones included; people "
        "without any are left out.",
        (r"@\d+ sparse",),
    ),
    Term("k", "The length of the list that a metric looks at: 10 in Recall@10.", (r"k(?= =)",)),
    Term(
        "Recall@k",
        "The share of a person's held-out items that stand among the first k of the list; the mean over people.",
        (r"Recall@\d+", r"Recall at \d+", "Recall"),
    ),
    Term(
        "NDCG@k",
        "As Recall@k, but a held-out item counts more the higher it stands; 1 is the best possible order.",
        (r"NDCG@\d+", r"NDCG at \d+", "NDCG"),
    ),
    Term(
        "ΔR",
        "(rank before − rank after) / (1 + rank before) of a held-out item, where before is with its own picture and "
        "after with the new one. Above 0 the item has moved up; from rank 9 to rank 4 it is +0.5. A few people who "
        "lose many ranks can dominate the mean, so the median over people stands beside it.",
    ),
    Term(
        "score",
        "What the judge expects a person to think of an item whose picture was replaced by the one shown, in standard "
        "deviations (σ) of that person's scores of all items.",
    ),
    Term(
        "σ",
        "The standard deviation of one person's scores of all items, in which scores of different people compare.",
        ("σ", "standard deviations?"),
    ),
    Term(
        "judge",
        "The ranker that scores the pictures. The one that gave the generator its reward is no independent judge: "
        "a gain is then a gain for that ranker.",
        ("judged by", "judge"),
    ),
    Term(
        "interval",
        "95 % bootstrap interval over people, or as `evaluation.confidence` says: where it holds 0, a difference of "
        "this size also comes up by the choice of people.",
        ("[Ii]ntervals?",),
    ),
    Term(
        "paired difference",
        "The difference is taken for each person first and averaged then, which leaves out that people differ.",
        ("paired differences?", "paired"),
    ),
    Term(
        "correction",
        "Among many comparisons some exclude 0 by chance. All but the primary ones (own pictures less the originals, "
        "and less `permuted_owners`, under `candidates`) are corrected together for their number (Holm).",
        ("[Cc]orrection",),
    ),
    Term(
        "personal",
        "A gain is personal as far as the picture made for the person gains more than pictures of the same item made "
        "for others (`permuted_owners`).",
    ),
    Term(
        "privileged",
        "The protocol knows which item the person will choose next and gives a new picture to that item alone. No shop "
        "knows it, so such a gain is no evidence of a gain in use.",
        ("[Pp]rivileged",),
    ),
    Term("RAGAR", "The pictures made for the person by the trained generator (v_gen)."),
    Term("original", "Control: every item keeps its own picture."),
    Term(
        "reconstruction",
        "Control: the item's own picture as the generator gives it back: drawn from its own feature, or through the "
        "codec. It shows what the generator does without any new content.",
    ),
    Term(
        "shuffled_user",
        "Control: the picture of the same item that was made for another person, one who did not choose it.",
    ),
    Term(
        "permuted_owners",
        "Control: among the people who have pictures of the same item, whose picture is shown is permuted, a thousand "
        "times; the mean. If pictures were not personal, any such order would be as good as the true one.",
    ),
    Term(
        "trained_on_shuffled", "The same ranker, trained with the pictures of other items in place of the items' own."
    ),
    Term("random_item", "Control: the own picture of another item, drawn at random; the mean over such draws."),
    Term("noise", "Control: uniform noise in place of every picture.", ("noise$", "`noise`")),
    Term(
        "everybody",
        "Control: a picture by a second generator with the same warm start and reward, trained and asked without any "
        "history: the strongest picture that is the same for all.",
        ("everybody$", "`everybody`"),
    ),
    Term("reference_image", "The reference's own picture.", ("reference_image",)),
    Term("global", "The picture v_glob, from caption and keywords alone."),
    Term("untrained", "The picture by the generator after its warm start, before any reward."),
    Term("seeds", "Pictures of one item for one person that differ in the random seed alone.", ("seeds$",)),
    Term(
        "reference",
        "The item for which a picture is made; its own picture is where the new one starts. The protocol `reference` "
        "makes a picture of the held-out item itself.",
        ("references?",),
    ),
    Term("history", "What the person has chosen before the test begins, oldest first.", ("[Hh]istory",)),
    Term(
        "retrieved",
        "The k items (`generator.k`) of the history that are most similar to the reference; their weights say how much "
        "each counts and sum to 1.",
        ("retrieved", "retrieval"),
    ),
    Term("E_g", "The caption of the reference and the keywords of the retrieved items, as states of the text encoder."),
    Term("v_glob", "The picture that the generator makes from E_g alone, without the learned part of the preference."),
    Term("v_gen", "The picture from the whole preference: what RAGAR shows."),
    Term(
        "preference",
        "The embedding that replaces the prompt of the diffusion model: the keywords and what was learned from the "
        "retrieved pictures.",
    ),
    Term(
        "groups",
        "A group is the pictures that were sampled for one request in one training step. If their rewards are all "
        "equal, the group gives no signal and the generator learns nothing from it.",
        ("[Gg]roups?",),
    ),
    Term(
        "warm start",
        "The first training of the generator, before any reward: the preference learns to say the caption of the "
        "reference.",
        ("[Ww]arm start",),
    ),
    Term(
        "seen from",
        "The smallest difference that would have been seen with a probability of 80 %: by the spread between people, "
        "and between trainings where there are several.",
        (r"\bseen from\b",),
    ),
    Term("sd", "Standard deviation of a number between trainings of rankers and generator.", (r"\bsd\b",)),
    Term("features", "Mean cosine distance between two pictures in the judge's image features.", ("features$",)),
    Term(
        "thumbnails",
        "Root mean square difference between two pictures that were shrunk to 4 x 6 pixels; 1 is black against white.",
        ("thumbnails$",),
    ),
)


def terms_in(texts: Iterable[str]) -> list[Term]:
    """Find the terms that occur in these texts, in the order of the glossary."""
    together = "\n".join(texts)
    return [term for term in GLOSSARY if re.search(term.pattern, together, re.MULTILINE)]
