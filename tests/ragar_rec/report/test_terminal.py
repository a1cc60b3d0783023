from dataclasses import replace

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.report.glossary import GLOSSARY
from ragar_rec.report.tables import tables
from ragar_rec.report.terminal import format_table, format_tables, format_verdicts


def rows(protocol: str = "candidates") -> list[Row]:
    def one(control, metric, value, low, high, other=None):
        return Row("toy", "ragar", protocol, control, "MICRO", metric, value, low, high, other, 40, 1)

    return [
        one("original", "ndcg@10", 0.1, 0.05, 0.15),
        one(OWN, "ndcg@10", 0.2, 0.15, 0.25),
        one(OWN, "ndcg@10", 0.1, 0.02, 0.18, "original"),
        one("original", "delta_r", 0.0, 0.0, 0.0),
        one(OWN, "delta_r", -0.01, -0.3, 0.1),
        one(OWN, "delta_r", -0.01, -0.3, 0.1, "original"),
    ]


def test_a_table_begins_with_its_question_and_ends_in_words_and_marks_what_excludes_zero():
    assert format_table(tables(rows())[0]).splitlines() == [
        "Protocol candidates on toy, judged by MICRO: 40 people",
        "Would personalised pictures help where nobody knows what the person will choose next?",
        "Every item of a person's original top C gets a new picture and those C are ranked again; nobody knows the",
        "target. Recall@C cannot change.",
        "",
        "NDCG@10   value                    vs original (seen from)",
        "-" * 62,
        "original  0.1000 [0.0500, 0.1500]",
        "ragar     0.2000 [0.1500, 0.2500]  +0.1000 [+0.0200, +0.1800]*",
        "",
        "ΔR, mean  value                      vs original (seen from)",
        "-" * 63,
        "original  0.0000 [0.0000, 0.0000]",
        "ragar     -0.0100 [-0.3000, 0.1000]  -0.0100 [-0.3000, +0.1000]",
        "",
        "In words: Pictures made for the person raise NDCG@10 by 0.1000 [0.0200, 0.1800] against the original "
        "pictures.",
        "The mean ΔR is -0.0100 [-0.3000, +0.1000]: no move is shown.",
    ]


def test_a_difference_says_what_could_have_been_seen_and_how_trainings_differ():
    """Only where the interval holds 0; trainings wherever there are several."""
    found = [replace(row, visible=0.1234 if row.compared_with else None, spread=0.0567) for row in rows()]
    text = format_table(tables(found)[0])
    assert "+0.1000 [+0.0200, +0.1800]* sd 0.0567\n" in text
    assert "-0.0100 [-0.3000, +0.1000] sd 0.0567 (0.1234)\n" in text
    defined = format_tables(tables(found))
    assert "\n  seen from: The smallest difference that would have been seen" in defined
    assert "\n  sd: Standard deviation of a number between trainings" in defined


def test_judges_that_were_not_believed_stand_under_the_verdict():
    found = Verdict("RAGAR", "no gain", "No.", {}, ("VBPR on hog may confirm nothing: it reads no pictures.",))
    assert format_verdicts([found]).splitlines() == [
        "RAGAR: no gain",
        "  No.",
        "  VBPR on hog may confirm nothing: it reads no pictures.",
    ]


def test_reference_carries_its_warning():
    assert "\n! Privileged: the target is known." in format_table(tables(rows("reference"))[0])


def test_a_word_is_defined_in_front_of_the_first_table_that_uses_it():
    text = format_tables(tables([*rows(), *rows("reference")]))
    for name in ("C", "ΔR", "NDCG@k", "original", "interval", "privileged"):
        assert text.count(f"\n  {name}: ") == 1, name
    first, second = text.split("\n\n\n")
    assert "\n  ΔR: (rank before − rank after) / (1 + rank before)" in first
    assert "\n  privileged: " in second
    assert "shuffled_user:" not in text  # no line of these tables


def test_names_of_the_glossary_are_unique():
    assert len({term.anchor for term in GLOSSARY}) == len(GLOSSARY)
