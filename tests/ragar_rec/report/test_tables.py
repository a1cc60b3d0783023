from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.report.tables import Estimate, format_table, tables


def rows(protocol: str = "candidates") -> list[Row]:
    def one(control, metric, value, low, high, other=None):
        return Row("toy", "ragar", protocol, control, "MICRO", metric, value, low, high, other, 40, 1)

    return [
        one("original", "recall@10", 0.1, 0.05, 0.15),
        one(OWN, "recall@10", 0.2, 0.15, 0.25),
        one(OWN, "recall@10", 0.1, 0.02, 0.18, "original"),
        one("original", "delta_r", 0.0, 0.0, 0.0),
        one(OWN, "delta_r", -0.01, -0.3, 0.1),
        one(OWN, "delta_r", -0.01, -0.3, 0.1, "original"),
    ]


def test_a_table_per_protocol_whose_title_names_it():
    found = tables([*rows("reference"), *rows("candidates")])
    assert [table.protocol for table in found] == ["reference", "candidates"]
    assert found[0].title == "Protocol `reference` on toy, judged by MICRO: 40 people"
    assert [table.privileged for table in found] == [True, False]
    assert [line.label for line in found[1].lines] == ["original", "ragar"]
    assert found[1].metrics == ("recall@10", "delta_r")


def test_the_text_is_aligned_and_marks_what_excludes_zero():
    assert format_table(tables(rows())[0]).splitlines() == [
        "Protocol candidates on toy, judged by MICRO: 40 people",
        "",
        "Recall@10  value                    vs original",
        "-" * 63,
        "original   0.1000 [0.0500, 0.1500]",
        "ragar      0.2000 [0.1500, 0.2500]  +0.1000 [+0.0200, +0.1800]*",
        "",
        "ΔR, mean  value                      vs original",
        "-" * 63,
        "original  0.0000 [0.0000, 0.0000]",
        "ragar     -0.0100 [-0.3000, 0.1000]  -0.0100 [-0.3000, +0.1000]",
    ]


def test_reference_carries_its_warning():
    text = format_table(tables(rows("reference"))[0])
    assert "! Privileged: the target is known." in text.splitlines()[1]


def test_the_sign_of_an_interval():
    signs = [
        Estimate(0, low, high).sign for low, high in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0, 0.1), (None, None))
    ]
    assert signs == [1, -1, 0, 0, 0]


def test_two_systems_in_one_table_keep_their_names():
    other = [
        Row("toy", "pmg", r.protocol, r.control, r.judge, r.metric, 0.3, None, None, None, 40, 1) for r in rows()[:2]
    ]
    labels = [line.label for line in tables([*rows(), *other])[0].lines]
    assert labels == ["ragar: original", "ragar", "pmg: original", "pmg"]
