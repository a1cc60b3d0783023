"""CSV files that people bring: read as text, or refused by file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.tables import nearest, read_table, read_text

NOTHING = ["NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "<NA>", "#N/A", "-nan", "1.#IND", ""]
"""Words that pandas takes for missing values."""


def file_of(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def rows(file: Path, columns: tuple[str, ...] = ("a", "b"), **options) -> list[list[str]]:
    return read_table(file, columns, **options).to_numpy().tolist()


def test_cells_are_text_and_nothing_is_missing(tmp_path):
    file = file_of(tmp_path, "a,b\n" + "".join(f"{word},007\n" for word in NOTHING))
    assert rows(file) == [[word, "007"] for word in NOTHING]


@given(st.lists(st.tuples(st.text(), st.text()).filter(lambda row: row[0].strip() or row[1]), max_size=5))
def test_what_pythons_writer_wrote_is_read_back(tmp_path_factory, table):
    import csv

    path = tmp_path_factory.mktemp("tables") / "table.csv"
    table = [[cell.replace("\0", "").encode("utf-8", "ignore").decode() for cell in row] for row in table]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    assert rows(path) == table


@pytest.mark.parametrize(
    ("text", "expected", "lines"),
    [
        ("a,b\n1,2\n3,4\n", [["1", "2"], ["3", "4"]], [2, 3]),
        ("a,b\n1,2", [["1", "2"]], [2]),  # no line break at the end
        ("\ufeffa,b\r\n1,2\r\n", [["1", "2"]], [2]),  # a byte order mark, as Excel's "CSV UTF-8" has it
        ("a,b\r1,2\r", [["1", "2"]], [2]),  # line breaks of old Macs
        (" a , b\n1, 2 \n", [["1", " 2 "]], [2]),  # blanks count in cells, not in names
        ("b,more,a\n2,x,1\n", [["1", "2"]], [2]),
        ("a,b\n\n1,2\n  \n3,4\n", [["1", "2"], ["3", "4"]], [3, 5]),
        ('a,b\n"1\n1",2\n3,"4,""4"""\n', [["1\n1", "2"], ["3", '4,"4"']], [2, 4]),
    ],
)
def test_rows_and_the_lines_on_which_they_begin(tmp_path, text, expected, lines):
    table = read_table(file_of(tmp_path, text), ["a", "b"])
    assert table.to_numpy().tolist() == expected
    assert table.index.tolist() == lines


def test_optional_columns_may_be_missing(tmp_path):
    file = file_of(tmp_path, "a,c\n1,3\n")
    assert read_table(file, ["a"], optional=["b", "c"]).to_dict("records") == [{"a": "1", "c": "3"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\nCafé,1\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xe9, perhaps of Latin-1 or Windows-1252)"),
        ("a,b\n1,2\n“x”,1\n".encode("cp1252"), "line 3 is not UTF-8 (byte 0x93"),
        ("a,b\n鼠,1\n".encode("shift-jis"), "line 2 is not UTF-8"),
        ("a,b\n鼠,1\n".encode("gb18030"), "line 2 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16"),
        ("\ufeffa,b\n1,2\n".encode("utf-16-be"), "is UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "line 1 holds a NUL byte, as UTF-16 has them"),
        ("a,b\n1,2\n".encode("utf-32"), "is UTF-32"),
    ],
)
def test_another_encoding_is_one_sentence(tmp_path, content, words):
    with pytest.raises(ValueError) as error:
        read_table(file_of(tmp_path, content), ["a", "b"])
    assert str(error.value).startswith(str(tmp_path / "table.csv"))
    assert words in str(error.value)
    assert str(error.value).endswith(": save it as UTF-8")


@pytest.mark.parametrize(
    ("content", "expected", "found", "wanted"),
    [
        ("a;b\n1;2\n", ",", "semicolons", "commas"),
        ("a\tb\n1\t2\n", ",", "tabs", "commas"),
        ("a|b\n1|2\n", ",", "vertical bars", "commas"),
        ('"a"; "b"\n1;2\n', ",", "semicolons", "commas"),
        ("a,b\n1,2\n", "\t", "commas", "tabs"),
    ],
)
def test_another_separator_is_named(tmp_path, content, expected, found, wanted):
    words = f"separates its columns by {found}, but they must be separated by {wanted}: save it with {wanted}"
    with pytest.raises(ValueError, match=words):
        read_table(file_of(tmp_path, content), ["a", "b"], separator=expected)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields where the header has 2: put quotation marks around .* a comma"),
        ("a,b\n1\n", "line 2 has 1 fields where the header has 2: every row needs 2"),
        ("a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields"),  # pandas makes the first column an index
        ('a,b\n"x\ny",1,2\n', r"line 2 \(which ends on line 3\) has 3 fields"),
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', "line 3 opens a quotation mark that is never closed"),
        ('a,"b\n1,2\n', "line 1 opens a quotation mark that is never closed"),
        ("a,b,b\n1,2,3\n", "has the column 'b' twice: rename one of them"),
        ("", "has no column a, b; its columns are none: add a and add b"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "cannot be read as CSV: field larger than field limit"),
    ],
)
def test_what_is_no_table_is_refused_by_file_and_line(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"table\.csv,? {words}"):
        read_table(file_of(tmp_path, content), ["a", "b"])


def test_a_missing_column_comes_with_the_nearest_one(tmp_path):
    file = file_of(tmp_path, "item_id,image_path\n1,x.png\n")
    with pytest.raises(ValueError, match=r"has no column image; .* item_id, image_path: rename image_path to image"):
        read_table(file, ["item_id", "image"])
    with pytest.raises(ValueError, match=r"has no column words; .*: say it in words"):
        read_table(file, ["words"], advice={"words": "say it in words"})
    with pytest.raises(FileNotFoundError, match=f"no gone.csv in {tmp_path}"):
        read_table(tmp_path / "gone.csv", ["a"])


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["title", "img"], "img"),
        (["title", "Image"], "Image"),
        (["image_url", "images"], "images"),
        (["path_to_image"], "path_to_image"),
        (["title", "tags"], None),
        ([], None),
    ],
)
def test_the_nearest_name_of_image(columns, expected):
    assert nearest("image", columns) in (expected, "image_url" if expected == "images" else expected)


def test_a_text_file(tmp_path):
    assert read_text(file_of(tmp_path, "\ufeffé\n")) == "é\n"
    with pytest.raises(ValueError, match=r"ids\.txt, line 2 is not UTF-8"):
        read_text(file_of(tmp_path, b"a\n\xe9\n", "ids.txt"))


def test_blank_lines_of_a_single_column_are_no_rows(tmp_path):
    assert rows(file_of(tmp_path, "a\n1\n  \n\n2\n"), ("a",)) == [["1"], ["2"]]
