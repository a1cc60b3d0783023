import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from ragar_rec.evaluation.finding import Finding
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Row
from ragar_rec.evaluation.verdict import Verdict
from ragar_rec.report.plots import Curve
from ragar_rec.report.report import CurveGroup, HistoryItem, Pair, Report, Showcase, duration, words
from ragar_rec.report.tables import tables
from recsys.scoring.statistics import Interval


def colour(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue]).view(3, 1, 1).expand(3, 12, 8).clone()


def report() -> Report:
    rows = [
        Row("toy", "ragar", "reference", control, "MICRO", "recall@10", value, value - 0.1, value + 0.1, other, 40, 1)
        for control, value, other in (
            ("original", 0.2, None),
            ("shuffled_user", 0.3, None),
            (OWN, 0.5, None),
            (OWN, 0.3, "original"),
            (OWN, 0.05, "shuffled_user"),
            ("shuffled_user", 0.1, "original"),
            ("original", -0.1, "shuffled_user"),
        )
    ]
    return Report(
        title="Tom & <Jerry>",
        subtitle="toy, rendered covers",
        summary=["Under `reference` it is <b>so</b>."],
        tables=tables(rows),
        curves=[CurveGroup("Loss", [Curve("train", range(60), np.linspace(1, 0, 60).tolist())], label="loss")],
        showcases=[
            Showcase(
                user="7",
                history=[HistoryItem(colour(1, 0, 0), "red one", 0.75), HistoryItem(None, "no picture")],
                reference_title="Blue one",
                reference=colour(0, 0, 1),
                v_glob=colour(0, 1, 1),
                v_gen=colour(1, 1, 0),
                rank_original=9,
                rank_generated=4,
                keywords=["slow", "warm"],
            )
        ],
        pairs=[Pair(colour(0, 0, 1), colour(1, 1, 0), "Blue one for 7")],
        provenance={"command": "`ragar-rec demo`", "seed": "3"},
        seconds={"ranker": 61.0, "backbone": 4.0},
    )


class Page(HTMLParser):
    """Checks that tags close in order, and collects addresses and text."""

    VOID = ("meta", "img", "br", "link", "line", "circle", "path", "use")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_needs_nothing_and_shows_what_it_was_given():
    page = Page(report().html())
    assert not page.open
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert sum(address.startswith("data:image/") for address in page.addresses) == 3 + 1 + 2
    text = re.sub(r"\s+", " ", "".join(page.words))
    for shown in (
        "Tom & <Jerry>",
        "Privileged: the target is known",
        "rank 9 → 4",
        "ΔR +0.500",
        "0.75",
        "no picture",
        "slow",
        "<b>so</b>",
        "1 min 05 s",
    ):
        assert shown in text, shown
    assert "<b>so</b>" not in report().html()


def test_names_in_backticks_are_code_wherever_a_sentence_stands():
    html = report().html()
    assert "<code>candidates</code>" in html  # in the explanation of the protocol `reference`
    assert "`" not in html


def test_terms_link_to_their_definitions_where_they_first_stand():
    html = report().html()
    linked, defined = set(re.findall(r'href="#(term-[\w-]+)"', html)), set(re.findall(r'<dt id="(.*?)"', html))
    assert {"term-delta-r", "term-v_glob", "term-v_gen", "term-e_g", "term-recall-k", "term-privileged"} <= linked
    assert linked <= defined
    assert words("`reference`: C = 10, `x`").count("<a ") == 2
    assert str(words("the judge, a judge")).count("<a ") == 1
    assert str(words("a & b")) == "a &amp; b"


def test_a_table_has_its_question_and_is_read_aloud():
    html = report().html()
    assert "Does a new picture lift the very item that is tested, as in the paper?" in html
    assert "0.3000 [0.2000, 0.4000]" in html  # own - original, in words


def test_differences_begin_with_the_systems_own_and_say_each_thing_once():
    rows = re.findall(r'<tr class="(.*?)"><th scope="row">(\S+ − \S+)</th>', report().html())
    assert [name for _, name in rows] == ["ragar − original", "ragar − shuffled_user", "shuffled_user − original"]
    assert [kind.split() for kind, _ in rows] == [["own", "up"], ["own"], []]


def test_masks_stand_beside_the_pictures_where_something_is_kept():
    kept = replace(report(), keep="`foreground` keeps 40 %.", pairs=[replace(report().pairs[0], kept=colour(1, 1, 1))])
    page = Page(kept.html())
    assert not page.open
    assert sum(address.startswith("data:image/") for address in page.addresses) == 6 + 3
    assert "What may change" in page.words
    assert "What may change" not in Page(report().html()).words


def test_the_same_data_give_the_same_page(tmp_path):
    report().write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report().html()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_an_empty_report_has_no_empty_sections():
    html = Report(title="Nothing yet", subtitle="").html()
    assert not Page(html).open
    assert "<section" not in html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (41.4, "41 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_first_screen_has_verdict_pictures_cost_and_waterfall_before_any_table():
    unfit = "VBPR on hog may confirm nothing: it does not read pictures."
    verdict = Verdict("ragar", "no gain", "No: nothing moved.", {}, (unfit,))
    gain = Interval(0.3, 0.2, 0.4, 9)
    headroom = Finding("headroom", "?", "", "", {"own": gain, "personal": gain, "share": 1.0})
    html = replace(report(), verdicts=[verdict], findings=[headroom]).html()
    first, _, rest = html[html.index("<header>") :].partition('id="results"')
    for shown in (
        "No gain",
        "No: nothing moved.",
        "may confirm nothing: it does not read",
        "data:image/",
        "1 min 05 s",
    ):
        assert shown in first, shown
    assert "Where a gain is lost" in first
    assert "may confirm nothing" not in rest


def test_several_trainings_have_a_column_of_their_spread():
    rows = [
        Row("toy", "ragar", "reference", control, "MICRO", "ndcg@10", 0.1, 0.05, 0.15, other, 40, 1, 3, spread)
        for control, other, spread in (("original", None, 0.01), (OWN, None, 0.02), (OWN, "original", 0.0321))
    ]
    several = replace(report(), tables=tables(rows)).html()
    assert re.search(r"<td[^>]*>0\.0321</td>", several)
    heading = r'<th scope="col" class="num">(?:<a [^>]*>)?sd<'
    assert re.search(heading, several)
    assert not re.search(heading, report().html())
