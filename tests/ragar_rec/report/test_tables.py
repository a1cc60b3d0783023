from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.report.tables import Estimate, tables


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


def test_the_sign_of_an_interval():
    signs = [
        Estimate(0, low, high).sign for low, high in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0, 0.1), (None, None))
    ]
    assert signs == [1, -1, 0, 0, 0]


def test_the_magnitude_of_a_fall_is_positive_and_its_ends_change_places():
    assert Estimate(-0.2, -0.3, -0.1).magnitude() == Estimate(0.2, 0.1, 0.3)
    assert Estimate(-0.2, -0.3, 0.1).magnitude() == Estimate(-0.2, -0.3, 0.1)


def test_two_systems_in_one_table_keep_their_names():
    other = [
        Row("toy", "pmg", r.protocol, r.control, r.judge, r.metric, 0.3, None, None, None, 40, 1) for r in rows()[:2]
    ]
    labels = [line.label for line in tables([*rows(), *other])[0].lines]
    assert labels == ["ragar: original", "ragar", "pmg: original", "pmg"]
