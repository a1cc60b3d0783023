"""Requests of the evaluation: which pictures the protocols, or a CSV file, ask for."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from generation.request import Request
from ragar_rec.evaluation.controls import Strangers
from ragar_rec.evaluation.people import known_history, known_people, request_seed
from ragar_rec.evaluation.protocols import Reranking, Task
from recsys.recbole.dataset import Dataset
from recsys.tables import encoding_problem

Pair = tuple[int, int]
"""(user, item), internal ids."""


Named = tuple[str, str, str]
"""Where something was asked for, in words, and the user and the item as they were typed."""


COLUMNS = ("user_id", "item_id")
"""Of a file of requests."""


class Requests:
    """Turns (user, item) pairs into requests: the history is what is known of the user when the test begins.

    Args:
        seed: of the run; each request has a seed of its own that follows from it, user and item.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.histories: dict[int, tuple[str, ...]] = {}

    def __call__(self, pair: Pair) -> Request:
        user, item = pair
        if user not in self.histories:
            self.histories[user] = known_history(self.dataset, user)
        names = str(self.dataset.user_tokens[user]), str(self.dataset.item_tokens[item])
        return Request(*names, self.histories[user], request_seed(self.seed, *names))


def read_requests(file: Path) -> list[Named]:
    """The lines of a CSV file with the columns ``user_id`` and ``item_id``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, lacks a column or a value, or holds no line.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no requests at {file}: name a CSV file with the columns {' and '.join(COLUMNS)}")
    found: list[Named] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            table = csv.DictReader(text)
            names = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = names
            if missing := [column for column in COLUMNS if column not in names]:
                raise ValueError(f"{file} has no column {', '.join(missing)}; its columns are {', '.join(names)}")
            for row in table:
                user, item = ((row[column] or "").strip() for column in COLUMNS)
                if not (user and item):
                    raise ValueError(f"{file}, line {table.line_num}: no {'item_id' if user else 'user_id'}")
                found.append((f"{file}, line {table.line_num}", user, item))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(encoding_problem(file) or f"{file} does not read as CSV ({error})") from error
    if not found:
        raise ValueError(f"{file} holds no request below its columns' names")
    return found


def named_pairs(named: Sequence[Named], dataset: Dataset, pictured: Container[str]) -> list[Pair]:
    """The (user, item) pairs of :func:`read_requests`, each once.

    Args:
        named: what was read.
        dataset: for the numbering.
        pictured: items that have a picture.

    Raises:
        ValueError: a user or an item is unknown, the user has no history, or the item no picture; the sentence names
            the line.
    """
    known = set(known_people(dataset).tolist())
    pairs: dict[Pair, None] = {}
    for where, user, item in named:
        ids: list[int] = []
        for kind, token, number in (("user", user, dataset.user_id), ("item", item, dataset.item_id)):
            try:
                ids.append(number(token))
            except KeyError:
                raise ValueError(f"{where}: the prepared data set has no {kind} {token!r}") from None
        if ids[0] not in known:
            raise ValueError(f"{where}: user {user!r} has no interaction before the test, so that no taste is known")
        if item not in pictured:
            raise ValueError(f"{where}: item {item!r} has no picture, so that none can be made of it")
        pairs[ids[0], ids[1]] = None
    return list(pairs)


def wanted_pairs(
    tasks: Sequence[Task], protocols: Iterable[Reranking], strangers: Strangers, pictured: set[int]
) -> list[Pair]:
    """Every (user, item) whose picture some protocol shows: to the user herself, or to somebody in her place."""
    pairs: dict[Pair, None] = {}
    for protocol in protocols:
        for task in tasks:
            items = protocol.items(task)
            other = strangers(task.user, items)
            for item in items.tolist():
                if item in pictured:
                    pairs[task.user, item] = None
                    pairs[other, item] = None
    return list(pairs)
