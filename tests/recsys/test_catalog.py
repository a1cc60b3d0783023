import shutil
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from recsys.catalog import Catalog, Item, find_image, tags, undecodable


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 6), colour).save(path)
    return path


def test_the_text_of_an_item_leaves_out_missing_fields():
    assert Item("1", "Alien (1979)", ("Horror", "Sci-Fi"), "In space").text == "Alien (1979). Horror, Sci-Fi. In space"
    assert Item("1", tags=("Horror",)).text == "Horror"
    assert Item("1").text == ""


def test_items_are_found_by_id_in_the_order_given():
    catalog = Catalog([Item("9", "b"), Item("100", "a")])
    assert catalog.ids == ["9", "100"]
    assert [item.title for item in catalog] == ["b", "a"]
    assert catalog["100"].title == "a"
    assert ("9" in catalog, "1" in catalog, len(catalog)) == (True, False, 2)
    with pytest.raises(KeyError, match=r"'1' is not in the catalogue of 2 items"):
        catalog["1"]


def test_holes_are_named(tmp_path):
    shown = Item("a", "words", image=picture(tmp_path / "a.png"))
    catalog = Catalog([shown, Item("b", "words"), Item("c", image=picture(tmp_path / "c.png")), Item("d")])
    assert catalog.without_image == ["b", "d"]
    assert catalog.without_text == ["c", "d"]
    assert catalog.without_images_of(["a", "d"]).without_image == ["a", "b", "d"]
    assert catalog["a"] is shown


@pytest.mark.parametrize(
    ("ids", "words"), [(["1", "2", "1"], "'1' stands .* twice"), (["1", ""], "row 1 .* no item_id")]
)
def test_ids_are_present_and_unique(ids, words):
    with pytest.raises(ValueError, match=words):
        Catalog(Item(item) for item in ids)


def test_what_was_written_reads_back_equal(tmp_path):
    """Commas, quotes, line breaks and pictures inside and outside of the folder survive."""
    home = tmp_path / "home"
    catalog = Catalog(
        [
            Item("1", 'He said "no", (1999)', ("Film-Noir", "Drama"), "two\nlines", picture(home / "images" / "1.png")),
            Item("2", "Pokémon", image=picture(tmp_path / "elsewhere" / "2.png")),
            Item("77777", "", (), ""),
        ]
    )
    catalog.write(home / "catalog.csv")
    assert list(Catalog.read(home / "catalog.csv")) == list(catalog)
    assert "images/1.png" in (home / "catalog.csv").read_text(encoding="utf-8")
    assert sorted(path.name for path in home.iterdir()) == ["catalog.csv", "images"]


def test_a_missing_image_file_is_a_hole(tmp_path):
    (tmp_path / "catalog.csv").write_text("item_id,title,image\n1,one,gone.png\n2,two,\n3,three,there.png\n")
    picture(tmp_path / "there.png")
    catalog = Catalog.read(tmp_path / "catalog.csv")
    assert catalog.without_image == ["1", "2"]
    assert catalog["3"] == Item("3", "three", image=tmp_path / "there.png")


def test_a_catalogue_without_its_column_names_what_was_found(tmp_path):
    (tmp_path / "catalog.csv").write_text("id,name\n1,one\n")
    with pytest.raises(ValueError, match=r"catalog\.csv has no column item_id; its columns are id, name"):
        Catalog.read(tmp_path / "catalog.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="its columns are none"):
        Catalog.read(tmp_path / "empty.csv")
    with pytest.raises(FileNotFoundError, match=r"no catalogue at .*gone\.csv.*item_id, title, tags"):
        Catalog.read(tmp_path / "gone.csv")


def test_pictures_that_do_not_decode_are_named(tmp_path):
    """Words in place of pixels, half a file, an empty one, and a bomb (one pixel, of which the header says 60,000 x
    60,000); a whole picture, a single pixel and a hole are not broken.
    """
    (tmp_path / "words.jpg").write_text("<html>404</html>")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.effect_noise((64, 64), 80).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:2000])
    Image.new("1", (1, 1)).save(tmp_path / "dot.png")
    bomb = bytearray((tmp_path / "dot.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    (tmp_path / "bomb.png").write_bytes(bomb)
    names = ("words.jpg", "empty.png", "whole.png", "half.png", "dot.png", "bomb.png")
    catalog = Catalog([*(Item(name, image=tmp_path / name) for name in names), Item("hole")])
    assert undecodable(catalog) == ["words.jpg", "empty.png", "half.png", "bomb.png"]


@pytest.mark.parametrize("word", ["NA", "N/A", "n/a", "nan", "NULL", "null", "None", "007", "1e5", "é", "a b", '"'])
def test_an_id_is_text(tmp_path, word):
    Catalog([Item(word, "NA")]).write(tmp_path / "catalog.csv")
    catalog = Catalog.read(tmp_path / "catalog.csv")
    assert catalog.ids == [word]
    assert catalog[word].title == "NA"


def test_blanks_around_ids_do_not_count(tmp_path):
    (tmp_path / "catalog.csv").write_text("item_id,title\n a ,A\n\tb,B\n\u00a0c,C\n")
    assert Catalog.read(tmp_path / "catalog.csv").ids == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a\n[PAD]\n", r"line 3 has the item_id '\[PAD\]', which is reserved: give it another id"),
        ("[UNK]\n", r"line 2 has the item_id '\[UNK\]', which is reserved"),
        ("a\n ,\n", "line 3 has 2 fields where the header has 1"),
        ('a\n"",\n', "line 3 has 2 fields"),
        ('a\n"b\tc"\n', r"line 3 has the item_id 'b\\tc', which holds a control character"),
        ("a\nb\n a\n", "lines 2 and 4 have the item 'a': ids are unique"),
    ],
)
def test_ids_that_cannot_be_used_are_named_by_line(tmp_path, rows, words):
    (tmp_path / "catalog.csv").write_text("item_id\n" + rows)
    with pytest.raises(ValueError, match=rf"catalog\.csv, {words}"):
        Catalog.read(tmp_path / "catalog.csv")


def test_an_item_without_id_is_named_by_line(tmp_path):
    (tmp_path / "catalog.csv").write_text("item_id,title\na,A\n ,B\n")
    with pytest.raises(ValueError, match=r"catalog\.csv, line 3 has no item_id"):
        Catalog.read(tmp_path / "catalog.csv")
    with pytest.raises(ValueError, match=r"the item '\[MASK\]', which is reserved"):
        Catalog([Item("[MASK]")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("||| |", ()),
        (" a |a|a", ("a",)),
        ("b| a |b|", ("b", "a")),
        ("a|A", ("a", "A")),  # a spelling is kept; keywords do not tell them apart
        ("", ()),
    ],
)
def test_tags_without_blanks_each_once(text, expected):
    assert tags(text) == expected


@pytest.mark.parametrize("text", ["img/a.png", r"img\a.png", "  img/a.png ", r".\img\a.png", "./img/../img/a.png"])
def test_a_path_that_resolves_is_read(tmp_path, text):
    picture(tmp_path / "img" / "a.png")
    path, problem = find_image(text, tmp_path)
    assert problem is None
    assert path is not None
    assert path.samefile(tmp_path / "img" / "a.png")


def test_a_file_with_a_backslash_in_its_name_comes_first(tmp_path):
    shutil.copy(picture(tmp_path / "img" / "a.png"), tmp_path / r"img\a.png")
    assert find_image(r"img\a.png", tmp_path) == (tmp_path / r"img\a.png", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://shop.example/1.jpg", "https://shop.example/1.jpg is a URL: download the image and name its file"),
        ("HTTP://shop.example/1.jpg", "is a URL"),
        ("s3://bucket/1.jpg", "is a URL"),
        ("data:image/png;base64," + "A" * 9000, "... is a URL"),
        (r"img\b.png", r"img\b.png has backslashes, and there is no file {folder}/img/b.png"),
        (r"C:\img\a.png", r"C:\img\a.png has backslashes, and there is no file {folder}/C:/img/a.png"),
        ("b.png", "there is no file {folder}/b.png"),
        ("img", "img is a folder: name a file in it"),
        ("img\\", "is a folder"),
        ("x" * 5000, "... is no path"),
        ("a\0b", "there is no file"),
    ],
)
def test_why_there_is_no_image(tmp_path, text, words):
    picture(tmp_path / "img" / "a.png")
    path, problem = find_image(text, tmp_path)
    assert path is None
    assert problem is not None
    assert words.format(folder=tmp_path) in problem
    assert len(problem) < 300


def test_problems_are_kept_by_item_and_an_empty_cell_is_none(tmp_path):
    (tmp_path / "catalog.csv").write_text("item_id,image\n1,gone.png\n2,\n3,\t\n")
    catalog = Catalog.read(tmp_path / "catalog.csv")
    assert dict(catalog.image_problems) == {"1": f"there is no file {tmp_path / 'gone.png'}"}
    assert catalog.without_image == ["1", "2", "3"]
    assert catalog.without_images_of(["2"]).image_problems == catalog.image_problems
