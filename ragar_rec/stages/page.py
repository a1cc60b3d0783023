"""The report as a stage: what an experiment has to show, gathered from its stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from generation.settings import INCIDENTAL
from ragar_rec.config.config import Config
from ragar_rec.evaluation.per_user import OWN
from ragar_rec.evaluation.results import Results, Row
from ragar_rec.report import report as report_module
from ragar_rec.report.plots import Curve
from ragar_rec.report.report import CurveGroup, Report
from ragar_rec.report.tables import tables
from ragar_rec.stages import showcases
from ragar_rec.stages.appearances import appearances
from ragar_rec.stages.catalogue import Catalogue
from ragar_rec.stages.diagnosis import Diagnosis
from ragar_rec.stages.generator_diagnosis import GeneratorDiagnosis
from ragar_rec.stages.reading import Reading
from ragar_rec.stages.results import JudgedResults
from ragar_rec.stages.stage import Stage
from ragar_rec.stages.system import System
from ragar_rec.store.curves import read_curves
from ragar_rec.store.hashing import hash_files
from recsys.scoring.metrics import list_metric_name

RENDERED = (
    "Interactions, titles and genres are real (MovieLens-100k). The covers are rendered by this library from genres, "
    "decade and title; they are no film posters."
)
PEOPLE_NOTES = ("Each person is shown with the middle one of their candidates; its rank changes for this item alone.",)
ONE_TRAINING = (
    "Rankers and generator were trained once: intervals know nothing of how another training would have come out "
    "(`evaluation.training_seeds`)."
)
SOLE_JUDGE = "The judge is the ranker that gave the reward; no independent judge has looked yet."
CURVE_NOTES = {
    "Reward": "Mean over a step's requests in σ, and what of it is above the item's own picture.",
    "Groups": "At 1 no group gives a signal: nothing is learned.",
    "Gradient norm": "Of each term of the loss (eq. 15).",
    "Brightness": "Mean luma, from 0 to 1. Whether the reward is gamed: v_gen should stay near its reference.",
    "Saturation": "Mean HSV saturation, from 0 to 1.",
    "Colour entropy": "Bits, at most 6. A fall means fewer colours in each picture.",
    "Edge density": "Share of pixels at an edge. A rise may be a pattern that the ranker rewards.",
    "Uncertainty": "Deviation over trainings of the ranker of what v_gen scores above the item's own, in σ. A rise "
    "means that pictures leave what the ranker knows.",
    "Commonest palette": "Share of pictures with the same two main colours. A rise means one look for everything.",
}
"""Title of a group of curves -> what it shows, where the legend does not say it."""
COMPARED = {"untrained": "the generator before any reward", "shuffled_user": "the picture made for somebody else"}
"""What the summary compares the generator's own picture with, in words."""


@dataclass(frozen=True, eq=False)
class ReportPage(Stage):
    """One self-contained HTML page.

    Attributes:
        catalogue: whose items.
        results: every user's numbers, for each system and training.
        readings: whether the judges read pictures.
        system: who drew the pictures; its ranker is the one shown.
        config: of the experiment, which the page shows.
        numbers: rows and findings of results.json, which follow from the other fields, and provenance, which a finished
            page keeps.
        diagnosis: of the ranker; None if there is none.
        generator_diagnosis: of the system; None if there is none.
    """

    name: ClassVar[str] = "report"
    catalogue: Catalogue
    results: tuple[JudgedResults, ...]
    readings: tuple[Reading, ...]
    system: System
    config: Config
    numbers: Results = field(metadata=INCIDENTAL)
    diagnosis: Diagnosis | None = None
    generator_diagnosis: GeneratorDiagnosis | None = None

    @property
    def key(self) -> dict[str, Any]:
        """Also the code that makes the page: what it shows changes with it."""
        files = {*Path(str(report_module.__file__)).parent.glob("*.*"), *Path(__file__).parent.glob("*.py")}
        return super().key | {"code": hash_files(sorted(file for file in files if file.is_file()))}

    def build(self, to: Path) -> None:
        self.report().write(to / "report.html")

    def report(self) -> Report:
        """The page's content."""
        settings = self.config.evaluation
        scale = (
            f"{settings.users or 'All'} people, C = {settings.candidates}, {self.system.description}, "
            f"seeds {', '.join(map(str, settings.seeds))}."
        )
        notice = RENDERED if self.catalogue.preparer == "ml-100k" else ""
        return Report(
            title="Would personalised pictures help?",
            subtitle=f"{self.catalogue.title}. {notice}".strip(),
            verdicts=self.numbers.verdicts,
            summary=[*_summary(self._shown_rows(), settings.k), scale],
            tables=tables(self.numbers.rows),
            curves=self._curves(),
            showcases=showcases.showcases(self.system, settings, self.config.generator.history_length),
            pairs=showcases.pairs(self.system, settings.seeds[0]),
            provenance=_provenance(self.numbers),
            seconds=self.workspace.store.seconds(),
            results_notes=tuple(self._notes()),
            people_notes=PEOPLE_NOTES,
            findings=self.numbers.diagnosis,
            keep="" if self.system.masks is None else self.system.masks.summary,
            appearances=appearances(self.results[0].drawn, settings),
        )

    def _notes(self) -> Iterator[str]:
        """Sentences above the tables."""
        if len(self.results[0].judges) == 1 and self.system.learned_from_ranker:
            yield SOLE_JUDGE
        if len(self.config.evaluation.training_seeds) == 1:
            yield ONE_TRAINING

    def _shown_rows(self) -> tuple[Row, ...]:
        """Rows of the config's own system under the ranker that rewards."""
        shown = (self.system.label, next(iter(self.results[0].judges)))
        return tuple(row for row in self.numbers.rows if (row.system, row.judge) == shown)

    def _curves(self) -> list[CurveGroup]:
        groups = list(self._ranker_curves())
        for folder in self.system.curve_folders:
            by_title: dict[str, list[Curve]] = {}
            for name, values in read_curves(folder).items():
                title, _, label = name.partition(": ")
                curve = Curve(label, [step for step, _ in values], [value for _, value in values])
                by_title.setdefault(title[0].upper() + title[1:], []).append(curve)
            groups += [CurveGroup(title, curves, note=CURVE_NOTES.get(title, "")) for title, curves in by_title.items()]
        return [group for group in groups if group.curves]

    def _ranker_curves(self) -> Iterator[CurveGroup]:
        """The ranker's loss and validation metric by epoch."""
        metric = str(self.system.ranker.settings.get("valid_metric", "Recall@20")).lower()
        for title, label, column in (
            ("Ranker: loss", "BPR", "loss.bpr"),
            (f"Ranker: validation {metric}", metric, f"valid.{metric}"),
        ):
            rows = [row for row in self.system.ranker.trained.history if column in row]
            curve = Curve(label, [row["epoch"] for row in rows], [row[column] for row in rows])
            yield CurveGroup(title, [curve] if rows else [], note="by epoch")


def _summary(rows: tuple[Row, ...], k: int) -> list[str]:
    return [
        *_gain_sentences(rows, "candidates", f"ndcg@{k}"),
        *_gain_sentences(rows, "reference", f"recall@{k}"),
        *_score_sentences(rows),
    ]


def _gain_sentences(rows: tuple[Row, ...], protocol: str, metric: str) -> Iterator[str]:
    name = list_metric_name(metric).replace("@", " at ")
    for row in rows:
        if (row.protocol, row.metric, row.control, row.compared_with) == (protocol, metric, OWN, "original"):
            yield (
                f"`{protocol}`: {name} changes by {row.value:+.4f} [{row.low:+.4f}, {row.high:+.4f}] against the "
                "original pictures."
            )


def _score_sentences(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        if row.protocol == "generator" and row.control == OWN and row.compared_with in COMPARED:
            yield (
                f"On people it was not trained on, the score of the trained generator's picture less that of "
                f"{COMPARED[row.compared_with]} is {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}] standard "
                "deviations."
            )


def _provenance(results: Results) -> dict[str, str]:
    run: dict[str, Any] = dict(results.run or {})
    versions = ", ".join(f"{name} {number}" for name, number in run.get("versions", {}).items())
    return {"command": run.get("command", ""), "machine": run.get("machine", ""), "versions": versions}
