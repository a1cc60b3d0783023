import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from recsys.catalog import Catalog, Item, undecodable


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
