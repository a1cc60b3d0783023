"""Generated pictures as files that anybody can open."""

import csv
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from generation.request import Request
from ragar_rec.store.picture_files import LONGEST, id_as_name, write_picture_files
from ragar_rec.store.shards import ImageShards

AWKWARD = ["7", "..", ".", "a/b", "a b", "Tür", "CON.txt", "files.csv", "", "x+2", "a\\b", "日本", "%2E"]


def shards(folder: Path, requests: list[Request]) -> ImageShards:
    """A grey picture for each request: the first is of shade 0, the next of shade 1."""
    stored = ImageShards(folder, {})
    shades = torch.arange(len(requests), dtype=torch.uint8)
    stored.write(requests, shades[:, None, None, None].expand(-1, 3, 6, 4))
    return stored


def shades(table: Path) -> dict[tuple[str, str], int]:
    """The shade of each file by user and item."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for row in rows:
        with Image.open(table.parent / row["file"]) as picture:
            assert picture.size == (4, 6)
            found[row["user_id"], row["item_id"]] = picture.getpixel((0, 0))
    return {key: pixel[0] for key, pixel in found.items()}


def test_every_id_has_a_file_of_its_own_below_the_folder(tmp_path: Path) -> None:
    requests = [Request(user, item, (), 0) for user, item in zip(AWKWARD, AWKWARD[::-1], strict=True)]
    folder = tmp_path / "pictures"
    table = write_picture_files(shards(tmp_path / "shards", requests), folder, "png", source="s", progress=False)
    assert shades(table) == {(r.user, r.reference): shade for shade, r in enumerate(requests)}
    files = list(tmp_path.rglob("*.png"))
    assert len(files) == len(AWKWARD)
    assert {file.parent.parent for file in files} == {folder}
    assert (folder / "7" / "%252E.png").is_file()


@given(st.text(max_size=200))
def test_a_name_is_safe_everywhere_and_can_be_undone(token: str) -> None:
    name = id_as_name(token)
    assert name
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~%")
    assert len(name) <= LONGEST + 17
    if token and len(name) <= LONGEST:
        assert unquote(name) == token


def test_long_ids_that_differ_at_the_end_have_two_names() -> None:
    assert id_as_name("a" * 300 + "b") != id_as_name("a" * 300 + "c")


def test_a_second_seed_has_a_number_and_no_item_can_have_its_name(tmp_path: Path) -> None:
    stored = shards(tmp_path / "s", [Request("u", "i", (), 5), Request("u", "i", (), 6), Request("u", "i+2", (), 5)])
    table = write_picture_files(stored, tmp_path, "webp", source="s", progress=False)
    assert table.read_text().splitlines() == [
        "user_id,item_id,seed,file",
        "u,i,5,u/i.webp",
        "u,i,6,u/i+2.webp",
        "u,i+2,5,u/i%2B2.webp",
    ]


def test_what_is_there_is_kept_and_another_generators_files_are_replaced(tmp_path: Path) -> None:
    first = [Request("u", "a", (), 0), Request("u", "b", (), 0)]
    write_picture_files(shards(tmp_path / "1", first), tmp_path, "png", source="one", progress=False)
    written = (tmp_path / "u" / "a.png").stat().st_mtime_ns
    (tmp_path / "u" / "b.png").unlink()  # as if the first run had been stopped there
    more = [*first, Request("v", "a", (), 0)]
    table = write_picture_files(shards(tmp_path / "2", more), tmp_path, "png", source="one", progress=False)
    assert shades(table) == {("u", "a"): 0, ("u", "b"): 1, ("v", "a"): 2}
    assert (tmp_path / "u" / "a.png").stat().st_mtime_ns == written
    table = write_picture_files(shards(tmp_path / "3", [more[2]]), tmp_path, "png", source="two", progress=False)
    assert shades(table) == {("v", "a"): 0}
    assert not (tmp_path / "u" / "a.png").exists()


def test_jpeg_is_close_and_a_picture_is_a_pil_image_in_python(tmp_path: Path) -> None:
    stored = shards(tmp_path / "s", [Request("u", "a", (), 0), Request("u", "b", (), 0)])
    table = write_picture_files(stored, tmp_path, "jpeg", source="s", progress=False)
    assert table.read_text().splitlines()[2] == "u,b,0,u/b.jpeg"
    picture = stored["u", "b"]
    assert (picture.size, picture.mode, picture.getpixel((3, 5))) == ((4, 6), "RGB", (1, 1, 1))
    assert stored[Request("u", "a", (), 0)].getpixel((0, 0)) == (0, 0, 0)
    with pytest.raises(KeyError, match="no picture of item 'c' for user 'u'"):
        stored["u", "c"]
