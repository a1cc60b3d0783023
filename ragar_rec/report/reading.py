"""Tables read aloud: their main rows as sentences, hedged where an interval holds 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ragar_rec.evaluation.per_user import PERMUTED_OWNERS
from ragar_rec.report.tables import Estimate, Line, Table, metric_name


def readings(table: Table) -> list[str]:
    """The table read aloud: a few sentences for each system; none for a protocol that has no question."""
    read = _READERS.get(table.protocol)
    own = [line for line in table.lines if line.own]
    if read is None:
        return []
    return [(f"{line.label}: " if len(own) > 1 else "") + " ".join(read(table, line)) for line in own]


def _candidates(table: Table, own: Line) -> Iterator[str]:
    yield from _ranking(table, own, _first(table, "ndcg"))


def _catalogue(table: Table, own: Line) -> Iterator[str]:
    for metric in (name for name in table.metrics if name.startswith("ndcg")):
        gain = _difference(own, metric, "original")
        if gain is not None:
            yield (
                f"As training data, pictures made for an item's audience {_effect(gain, metric)} against the original "
                "pictures."
            )
        audience = _difference(own, metric, "shuffled_user")
        if audience is not None:
            verdict = ("the other audience's do better", "no part of the audience is shown", "that is the audience's")
            yield (
                f"Less those made for the audience of another item: {audience.text(signed=True)}; "
                f"{verdict[audience.sign + 1]}."
            )
    metric = _first(table, "ndcg")
    random = _difference(_control(table, own, "random_item"), metric, "original")
    if random is not None:
        verdict = ("it learns from pictures", "that it learns from pictures is not shown", "they do better")
        yield (
            f"On pictures of other items the ranker's {metric_name(metric)} changes by {random.text(signed=True)}: "
            f"{verdict[random.sign + 1]}."
        )


def _reference(table: Table, own: Line) -> Iterator[str]:
    metric = _first(table, "recall")
    yield from _ranking(table, own, metric)
    random = _difference(_control(table, own, "random_item"), metric, "original")
    if random is not None:
        yield f"Pictures of other items, drawn at random, {_effect(random, metric)}."
    yield "The target is known here, so none of this is evidence of a gain in use."


def _ranking(table: Table, own: Line, metric: str) -> Iterator[str]:
    """What pictures made for the person, and for somebody else, do to a metric of the list; what of it is personal."""
    gain = _difference(own, metric, "original")
    if gain is None:
        return
    sentence = f"Pictures made for the person {_effect(gain, metric)} against the original pictures"
    stranger = _difference(_control(table, own, "shuffled_user"), metric, "original")
    if stranger is not None:
        sentence += f"; pictures of the same items made for somebody else {_effect(stranger, metric)}"
    yield f"{sentence}."
    yield from _personal(_difference(own, metric, PERMUTED_OWNERS) or _difference(own, metric, "shuffled_user"))
    moved = _difference(own, "delta_r", "original")
    if moved is not None:
        verdict = ("the items fall", "no move is shown", "the items rise")[moved.sign + 1]
        yield f"The mean ΔR is {moved.text(signed=True)}: {verdict}."


def _personal(difference: Estimate | None) -> Iterator[str]:
    """Whether a picture made for the person does better than one made for somebody else."""
    if difference is None:
        return
    if difference.low == difference.high == 0:
        verdict = "nothing here is personal"
    elif difference.sign > 0:
        verdict = "that much is personal"
    elif difference.sign < 0:
        verdict = "those for somebody else do better, so nothing personal is shown"
    else:
        verdict = f"{_why_nothing(difference)}, so nothing personal is shown"
    yield f"Pictures for the person less those for somebody else: {difference.text(signed=True)}; {verdict}."


def _generator(table: Table, own: Line) -> Iterator[str]:
    learned = _difference(own, "score", "untrained")
    if learned is not None:
        verdict = ("training made it worse", "no learning is shown", "it learned what the ranker rewards")
        score = _score("On people kept from its training, the generator's pictures score", learned)
        yield f"{score} those of the generator before any reward: {verdict[learned.sign + 1]}."
    own_picture = _difference(own, "score", "reference_image")
    if own_picture is not None:
        yield f"{_score('They score', own_picture)} the items' own pictures."
    yield from _personal(_difference(own, "score", "shuffled_user"))


def _diversity(table: Table, own: Line) -> Iterator[str]:
    seeds = _control(table, own, "seeds")
    verdict = (
        "two seeds differ more than two people do",
        "the interval holds 0, so no difference between people beyond chance is shown",
        "two people differ more than chance does",
    )
    for metric in table.metrics:
        difference = _difference(own, metric, "seeds")
        if seeds is not None and difference is not None:
            people, chance = own.values[metric], seeds.values[metric]
            yield (
                f"In {metric_name(metric)}, pictures of one item for two people are {people.value:.4f} apart, those by "
                f"two seeds for one person {chance.value:.4f}. The difference is {difference.text(signed=True)}: "
                f"{verdict[difference.sign + 1]}."
            )


def _reading(table: Table, own: Line) -> Iterator[str]:
    metric = _first(table, "ndcg")
    lead = _difference(own, metric, "trained_on_shuffled")
    if lead is not None:
        verdict = ("it is worse for them", "it does not read them, as far as can be seen", "it reads them")
        yield (
            f"Trained on the items' own pictures, {metric_name(metric)} is {lead.text(signed=True)} against that by "
            f"pictures of other items: {verdict[lead.sign + 1]}."
        )


_READERS: Mapping[str, Callable[[Table, Line], Iterator[str]]] = {
    "candidates": _candidates,
    "catalogue": _catalogue,
    "reference": _reference,
    "generator": _generator,
    "diversity": _diversity,
    "reading": _reading,
}
"""Protocol -> what reads one system's line of its table."""


def _effect(change: Estimate, metric: str) -> str:
    """What pictures do to a metric, as a predicate: ``raise NDCG@10 by 0.0492 [0.0355, 0.0650]``."""
    name = metric_name(metric)
    if change.low == change.high == 0:
        return f"do not change {name}"
    if change.sign == 0:
        hedge = "" if change.low is None else f" ({_why_nothing(change)}: no change is shown{_visible(change)})"
        return f"change {name} by {change.text(signed=True)}{hedge}"
    return f"{'raise' if change.sign > 0 else 'lower'} {name} by {change.magnitude().text()}"


def _why_nothing(difference: Estimate) -> str:
    return "it does not survive the correction" if difference.excludes_zero else "the interval holds 0"


def _visible(change: Estimate) -> str:
    """What could have been seen, where nothing is."""
    if not change.visible or change.excludes_zero:
        return ""
    return f"; one of {change.visible:.4f} would have been seen with a probability of 80 %"


def _score(beginning: str, difference: Estimate) -> str:
    """The beginning of a comparison of scores, up to ``above`` or ``below``."""
    if difference.sign == 0:
        hedge = "" if difference.low is None else ", an interval that holds 0,"
        if difference.excludes_zero:
            hedge = ", not after the correction for the number of comparisons,"
        return f"{beginning} {difference.text(signed=True)} σ{hedge} against"
    return f"{beginning} {difference.magnitude().text()} σ {'above' if difference.sign > 0 else 'below'}"


def _first(table: Table, name: str) -> str:
    """The table's first metric of this name, whatever its cut-off."""
    return next((metric for metric in table.metrics if metric.startswith(name)), name)


def _control(table: Table, own: Line, control: str) -> Line | None:
    return next((line for line in table.lines if (line.system, line.control) == (own.system, control)), None)


def _difference(line: Line | None, metric: str, other: str) -> Estimate | None:
    return None if line is None else line.differences.get((metric, other))
