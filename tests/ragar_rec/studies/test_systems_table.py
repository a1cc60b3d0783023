"""The table of systems, from rows that were written by hand."""

from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.studies.systems_table import systems_tables


def row(system: str, control: str, judge: str, metric: str, value: float, protocol: str = "candidates") -> Row:
    return Row("toy", system, protocol, control, judge, metric, value, value - 0.1, value + 0.1, None, 7, 1)


def test_originals_come_first_and_every_judge_has_its_columns() -> None:
    """Other controls, metrics and differences have no place; the originals are the same for both systems."""
    rows = [
        row(system, control, judge, metric, value + shift)
        for system in ("RAGAR", "PMG")
        for control, value in ((OWN, 0.5 if system == "RAGAR" else 0.4), ("original", 0.3), ("random_item", 0.9))
        for judge, shift in (("MICRO", 0.0), ("VBPR", 0.2))
        for metric in ("ndcg@5", "delta_r")
    ]
    rows.append(row("RAGAR", OWN, "MICRO", "ndcg@5", 0.1, protocol="catalogue"))
    rows.append(row("RAGAR", "original", "MICRO", "ndcg@5", 0.2, protocol="catalogue"))
    rows.append(row("RAGAR", OWN, "MICRO", "score", 0.1, protocol="generator"))
    assert systems_tables(rows).splitlines() == [
        "`candidates`, 7 people",
        "",
        "| pictures | NDCG@5, MICRO | NDCG@5, VBPR |",
        "|---|---|---|",
        "| ORI | 0.3000 [0.2000, 0.4000] | 0.5000 [0.4000, 0.6000] |",
        "| RAGAR | 0.5000 [0.4000, 0.6000] | 0.7000 [0.6000, 0.8000] |",
        "| PMG | 0.4000 [0.3000, 0.5000] | 0.6000 [0.5000, 0.7000] |",
        "",
        "`catalogue`, 7 people",
        "",
        "| pictures | NDCG@5, MICRO |",
        "|---|---|",
        "| ORI | 0.2000 [0.1000, 0.3000] |",
        "| RAGAR | 0.1000 [0.0000, 0.2000] |",
    ]
