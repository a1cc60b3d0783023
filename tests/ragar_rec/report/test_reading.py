import pytest

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.report.reading import readings
from ragar_rec.report.tables import tables

Interval = tuple[float, float, float]
ABOVE, BELOW, HOLDS_0 = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3)


def read(protocol: str, metric: str, *lines: tuple[str, str | None, Interval], system: str = "ragar") -> list[str]:
    rows = [
        Row("toy", system, protocol, control, "MICRO", metric, *interval, other, 40, 1)
        for control, other, interval in lines
    ]
    table, *more = tables(rows)
    assert not more
    return readings(table)


@pytest.mark.parametrize(
    ("gain", "stranger", "between", "sentences"),
    [
        (
            ABOVE,
            HOLDS_0,
            ABOVE,
            "Pictures made for the person raise NDCG@10 by 0.2000 [0.1000, 0.3000] against the original pictures; "
            "pictures of the same items made for somebody else change NDCG@10 by +0.1000 [-0.1000, +0.3000] (the "
            "interval holds 0: no change is shown). Pictures for the person less those for somebody else: +0.2000 "
            "[+0.1000, +0.3000]; that much is personal.",
        ),
        (
            BELOW,
            ABOVE,
            BELOW,
            "Pictures made for the person lower NDCG@10 by 0.2000 [0.1000, 0.3000] against the original pictures; "
            "pictures of the same items made for somebody else raise NDCG@10 by 0.2000 [0.1000, 0.3000]. Pictures for "
            "the person less those for somebody else: -0.2000 [-0.3000, -0.1000]; those for somebody else do better, "
            "so nothing personal is shown.",
        ),
        (
            (0, 0, 0),
            (0, 0, 0),
            HOLDS_0,
            "Pictures made for the person do not change NDCG@10 against the original pictures; pictures of the same "
            "items made for somebody else do not change NDCG@10. Pictures for the person less those for somebody else: "
            "+0.1000 [-0.1000, +0.3000]; the interval holds 0, so nothing personal is shown.",
        ),
    ],
)
def test_a_list_is_read_with_the_hedge_that_its_intervals_ask_for(gain, stranger, between, sentences):
    assert read(
        "candidates",
        "ndcg@10",
        (OWN, "original", gain),
        (OWN, "shuffled_user", between),
        ("shuffled_user", "original", stranger),
    ) == [sentences]


def test_reference_ends_with_what_it_is_no_evidence_of():
    (text,) = read("reference", "recall@10", (OWN, "original", ABOVE), ("random_item", "original", ABOVE))
    assert text.endswith(
        "Pictures of other items, drawn at random, raise Recall@10 by 0.2000 [0.1000, 0.3000]. The target is known "
        "here, so none of this is evidence of a gain in use."
    )


@pytest.mark.parametrize(
    ("learned", "sentence"),
    [
        (ABOVE, "score 0.2000 [0.1000, 0.3000] σ above those of the generator before any reward: it learned what"),
        (
            BELOW,
            "score 0.2000 [0.1000, 0.3000] σ below those of the generator before any reward: training made it worse",
        ),
        (
            HOLDS_0,
            "score +0.1000 [-0.1000, +0.3000] σ, an interval that holds 0, against those of the generator before",
        ),
    ],
)
def test_the_generator_learned_or_did_not(learned, sentence):
    (text,) = read("generator", "score", (OWN, "untrained", learned))
    assert text.startswith(f"On people kept from its training, the generator's pictures {sentence}")


def test_diversity_compares_people_with_seeds():
    assert read(
        "diversity",
        "feature_distance",
        (OWN, None, (0.5, 0.4, 0.6)),
        ("seeds", None, (0.3, 0.2, 0.4)),
        (OWN, "seeds", ABOVE),
    ) == [
        "In features, pictures of one item for two people are 0.5000 apart, those by two seeds for one person 0.3000. "
        "The difference is +0.2000 [+0.1000, +0.3000]: two people differ more than chance does."
    ]


def test_a_protocol_without_a_question_is_not_read():
    assert read("another", "ndcg@10", (OWN, "original", ABOVE)) == []


def test_better_training_data_for_whom_and_whether_the_ranker_learns_from_pictures():
    lines = ((OWN, "original", ABOVE), (OWN, "shuffled_user", HOLDS_0), ("random_item", "original", BELOW))
    assert read("catalogue", "ndcg@10", *lines) == [
        "As training data, pictures made for an item's audience raise NDCG@10 by 0.2000 [0.1000, 0.3000] against the "
        "original pictures. Less those made for the audience of another item: +0.1000 [-0.1000, +0.3000]; no part of "
        "the audience is shown. On pictures of other items the ranker's NDCG@10 changes by -0.2000 [-0.3000, "
        "-0.1000]: it learns from pictures."
    ]
