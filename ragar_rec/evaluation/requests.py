"""Requests of the evaluation: the pictures that the protocols show, or that a CSV file lists."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from generation.request import Request
from ragar_rec.evaluation.controls import ShuffledUserSampler
from ragar_rec.evaluation.people import known_history, request_seed, users_with_history
from ragar_rec.evaluation.protocols import EvaluationProtocol, Task
from recsys.recbole.dataset import Dataset
from recsys.tables import encoding_problem, read_table

UserItemPair = tuple[int, int]
"""(user, item), internal ids."""

COLUMNS = ("user_id", "item_id")
"""Columns that a CSV file of requests must have."""


class RequestLine(NamedTuple):
    """One line of a CSV file of requests."""

    location: str
    """File and line number, as error messages name them."""
    user: str
    item: str


class RequestFactory:
    """Turns (user, item) pairs into requests: the history is what is known of the user when the test begins.

    Args:
        dataset: its training and validation interactions are the histories.
        seed: of the run; each request has a seed of its own that follows from it, user and item.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.histories: dict[int, tuple[str, ...]] = {}

    def __call__(self, pair: UserItemPair) -> Request:
        user, item = pair
        if user not in self.histories:
            self.histories[user] = known_history(self.dataset, user)
        tokens = str(self.dataset.user_tokens[user]), str(self.dataset.item_tokens[item])
        return Request(*tokens, self.histories[user], request_seed(self.seed, *tokens))


def read_requests(file: Path) -> list[RequestLine]:
    """Read a CSV file with the columns ``user_id`` and ``item_id``; further columns are ignored.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, lacks a column or a value, or holds no line.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no requests at {file}: name a CSV file with the columns {' and '.join(COLUMNS)}")
    lines: list[RequestLine] = []
    try:
        # Spreadsheet programs write a byte order mark, which "utf-8-sig" takes off the first column's name.
        with file.open(newline="", encoding="utf-8-sig") as text:
            table = csv.DictReader(text)
            names = [name.strip() for name in table.fieldnames or []]
            table.fieldnames = names
            if missing := [column for column in COLUMNS if column not in names]:
                raise ValueError(f"{file} has no column {', '.join(missing)}; its columns are {', '.join(names)}")
            for row in table:
                location = f"{file}, line {table.line_num}"
                user, item = ((row[column] or "").strip() for column in COLUMNS)
                if not (user and item):
                    raise ValueError(f"{location}: no {'item_id' if user else 'user_id'}")
                lines.append(RequestLine(location, user, item))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(encoding_problem(file) or f"{file} does not read as CSV ({error})") from error
    if not lines:
        raise ValueError(f"{file} holds no request below its columns' names")
    return lines


def resolve_pairs(lines: Sequence[RequestLine], dataset: Dataset, pictured: Container[str]) -> list[UserItemPair]:
    """Translate the lines of a request file to internal ids; a pair that is listed twice comes once.

    Args:
        lines: what :func:`read_requests` returned.
        dataset: knows the internal ids.
        pictured: ids of the items that have a picture.

    Raises:
        ValueError: a user or an item is unknown, the user has no history, or the item no picture; the sentence names
            the line.
    """
    known_users = set(users_with_history(dataset).tolist())
    pairs: dict[UserItemPair, None] = {}
    for location, user, item in lines:
        ids: list[int] = []
        for kind, token, id_of in (("user", user, dataset.user_id), ("item", item, dataset.item_id)):
            try:
                ids.append(id_of(token))
            except KeyError:
                raise ValueError(f"{location}: the prepared data set has no {kind} {token!r}") from None
        if ids[0] not in known_users:
            raise ValueError(f"{location}: user {user!r} has no interaction before the test, so that no taste is known")
        if item not in pictured:
            raise ValueError(f"{location}: item {item!r} has no picture, so that none can be made of it")
        pairs[ids[0], ids[1]] = None
    return list(pairs)


def read_users(file: Path, dataset: Dataset) -> list[int]:
    """Internal ids of the users in the column ``user_id`` of a CSV file, ascending; a user listed twice comes once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV, lacks the column or any line, or names a user who is unknown or has no history; the
            sentence names the line.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no users at {file}: name a CSV file with the column user_id")
    known = set(users_with_history(dataset).tolist())
    users: set[int] = set()
    for line, cell in read_table(file, ["user_id"])["user_id"].items():
        token = str(cell).strip()
        try:
            user = dataset.user_id(token)
        except KeyError:
            raise ValueError(f"{file}, line {line}: the prepared data set has no user {token!r}") from None
        if user not in known:
            raise ValueError(f"{file}, line {line}: user {token!r} has no interaction before the test")
        users.add(user)
    if not users:
        raise ValueError(f"{file} names no user below the column's name")
    return sorted(users)


def pairs_to_draw(
    tasks: Sequence[Task],
    protocols: Iterable[EvaluationProtocol],
    shuffled_user: ShuffledUserSampler,
    pictured: set[int],
) -> list[UserItemPair]:
    """Every (user, item) whose picture some protocol shows, each once.

    For each item of a task these are the user's own picture and that of the other user whom ``shuffled_user`` draws.

    Args:
        tasks: the users of the test.
        protocols: which of a user's items get new pictures.
        shuffled_user: draws the other user of each list.
        pictured: internal ids of the items that have a picture; others are left out.
    """
    pairs: dict[UserItemPair, None] = {}  # a dict and no set: its order is that in which pairs were added
    for protocol in protocols:
        for task in tasks:
            items = protocol.items(task)
            other = shuffled_user(task.user, items)
            for item in items.tolist():
                if item in pictured:
                    pairs[task.user, item] = None
                    pairs[other, item] = None
    return list(pairs)
