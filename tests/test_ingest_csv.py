import pytest

from ruma.errors import InputError
from tests.parsing import blocks_of, read, sentences_of


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_row_is_a_line_that_names_its_columns(delimiter: str) -> None:
    """The delimiter is found, and empty cells are left out."""
    rows = ["Product|Price|Note", "Rye|4.80|", "Walnut|5.20|Thursday"]

    document = read("\n".join(row.replace("|", delimiter) for row in rows), "price-list.csv")

    assert sentences_of(document) == [
        "Product: Rye; Price: 4.80.",
        "Product: Walnut; Price: 5.20; Note: Thursday.",
    ]
    assert (document.title, document.media_type) == ("Price list", "text/csv")


def test_quoted_cells_may_hold_delimiters_and_line_breaks() -> None:
    """A cell is one line of words, whatever was in it."""
    document = read('Name,Text\nA,"one, two\nthree"\nB,four\n', "a.csv")

    assert sentences_of(document) == ["Name: A; Text: one, two three.", "Name: B; Text: four."]


def test_a_table_without_a_header_is_not_given_one() -> None:
    """Rows of data alone, numbers or two columns, keep all their rows."""
    assert sentences_of(read("1,2\n3,4\n", "a.csv")) == ["1: 2.", "3: 4."]
    assert sentences_of(read("Phone,01632 960417\nFax,none\n", "a.csv")) == ["Phone: 01632 960417.", "Fax: none."]


def test_a_title_above_the_table_and_a_declared_delimiter_are_understood() -> None:
    """Spreadsheets write both into the first line."""
    titled = read("Stanley Cups,,\nTeam,City,Cups\nBlues,STL,1\n", "a.csv")

    assert blocks_of(titled) == [("paragraph", "Stanley Cups"), ("table row", "Team: Blues; City: STL; Cups: 1.")]
    assert sentences_of(read("sep=;\nA;B\nx;y\n", "a.csv")) == ["A: x; B: y."]


def test_an_open_quote_is_an_error() -> None:
    """A cell that swallows the rest of the file is not one."""
    with pytest.raises(InputError, match="quote"):
        read('a,b\n"' + "x," * 600_000, "a.csv")
