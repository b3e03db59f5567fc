import pytest

from ruma.errors import InputError
from tests.parsing import blocks_of, read, sentences_of

PAGE = """<!doctype html><html lang="de-AT"><head><title>Hours | Shop</title><style>p {{}}</style></head><body>
<header><a href="/">Home</a></header><nav><ul><li><a href="/a">A</a></li></ul></nav>
{main}
<aside>Buy now</aside><footer>© us</footer><script>var x = "hidden";</script></body></html>"""


def texts(markup: str) -> list[str]:
    """Return the text of each block of a page."""
    return [text for _, text in blocks_of(read(markup, "a.html"))]


def test_only_the_content_is_read() -> None:
    """Header, navigation, sidebar, footer and scripts are no text; the heading is the title."""
    document = read(PAGE.format(main="<main><h1>Opening hours</h1><p>Nine to six.</p></main>"), "a.html")

    assert blocks_of(document) == [("heading", "Opening hours"), ("paragraph", "Nine to six.")]
    assert (document.title, document.language) == ("Opening hours", "de")


def test_a_page_without_main_is_read_without_its_navigation() -> None:
    """Lists of links and what is named a menu go; a list of words called menu stays."""
    found = texts(
        "<body><div class='navbar'><a href=a>One</a> <a href=b>Two</a></div>"
        "<div>" + "<a href=c>Link</a> " * 6 + "</div><ul class=menu><li>Soup 4.50</li><li>Pie 6.00</li></ul>"
        "<p>Come in, we have <a href=d>bread</a> for you.</p></body>"
    )

    assert found == ["Soup 4.50", "Pie 6.00", "Come in, we have bread for you."]


def test_hidden_elements_are_left_out_and_folded_answers_are_not() -> None:
    """What the page hides is not read; an accordion's closed answer is content."""
    found = texts(
        "<body><p>Shown.</p><p style='color: red; display:none'>One</p><p hidden>Two</p>"
        "<template><p>Three</p></template>"
        "<span class='sr-only'>Four</span><i aria-hidden=true>★</i>"
        "<h3><button>Do you deliver?</button></h3><div aria-hidden=true><p>Yes, daily.</p></div></body>"
    )

    assert found == ["Shown.", "Do you deliver?", "Yes, daily."]


def test_words_are_neither_glued_nor_torn() -> None:
    """Blocks and line breaks part words, inline tags do not; a price's raised cents stay raised."""
    found = texts(
        "<body><div>One<div>Two</div>Three</div><p>Tal<b>low</b> Street<br>Marrowby<br><br>Next</p>"
        "<p>19<sup>99</sup> €<sup><a href='#f'>1</a></sup></p><x-card><p>In</p><p>Out</p></x-card></body>"
    )

    assert found == ["One", "Two", "Three", "Tallow Street\nMarrowby", "Next", "19⁹⁹ €", "In", "Out"]


def test_tables_are_put_into_words() -> None:
    """Rows name their columns, two cells are a name and a value, and a table for layout is only its content."""
    document = read(
        "<body><table><tr><th>Cake</th><th>Price</th></tr><tr><td>Carrot</td><td>£3</td></tr></table>"
        "<table><tr><td>Phone</td><td>01632</td></tr></table>"
        "<table><tr><td><h2>Visit</h2></td><td><p>Come by.</p></td></tr></table></body>",
        "a.html",
    )

    assert blocks_of(document) == [
        ("table row", "Cake: Carrot; Price: £3."),
        ("table row", "Phone: 01632."),
        ("heading", "Visit"),
        ("paragraph", "Come by."),
    ]


def test_questions_stand_above_their_answers() -> None:
    """A question in bold letters is a heading, one in a definition list goes before its answer."""
    document = read(
        "<body><p><b>Do you deliver?</b></p><p>Daily.</p><dl><dt>Is it free?<dd>From £20.</dl></body>", "a.html"
    )

    assert blocks_of(document) == [
        ("heading", "Do you deliver?"),
        ("paragraph", "Daily."),
        ("list item", "Is it free? From £20."),
    ]


def test_definitions_and_lists_are_items() -> None:
    """A term stands with its definition; numbers of a list go on where they begin."""
    document = read("<body><dl><dt>Rye<dd>A dark loaf</dl><ol start=3><li>Three<li>Four</ol></body>", "a.html")

    assert document.text == "- Rye: A dark loaf\n3. Three\n4. Four"
    assert sentences_of(document) == ["Rye: A dark loaf", "Three", "Four"]


def test_pictures_speak_only_where_nothing_else_does() -> None:
    """A described picture in a cell or alone is text, one in a sentence is not, nor is a file's name."""
    found = texts(
        "<body><p><img alt='A loaf'></p><p>Hello <img alt='smile'> you</p><p><img alt='x_1.png'></p>"
        "<table><tr><th>A</th><th>B</th></tr><tr><td>Wi-Fi</td><td><img alt=yes></td></tr></table></body>"
    )

    assert found == ["A loaf", "Hello you", "A: Wi-Fi; B: yes."]


def test_the_declared_encoding_is_believed_when_the_bytes_are_not_utf8() -> None:
    """A page in a declared legacy encoding is read without garbled letters; a codec that is none is not used."""
    russian = "<meta charset=windows-1251><body><p>Хлеб и булки</p></body>".encode("cp1251")
    odd = b"<html><meta charset=hex><body><p>Gr\xfc\xdfe</p></body>"

    assert read(russian, "a.html").text == "Хлеб и булки"
    assert read(odd, "a.html").text == "Grüße"


@pytest.mark.parametrize("nested", [300, 200_000])
def test_a_page_nested_too_deeply_is_an_error(nested: int) -> None:
    """The parser would drop the rest silently, so the page is refused."""
    with pytest.raises(InputError, match="nested too deeply"):
        read("<!doctype html>" + "<div>" * nested + "deep", "a.html")


def test_entities_of_its_own_are_not_expanded() -> None:
    """A page that defines an entity for a file or for itself gets neither."""
    document = read(
        '<!DOCTYPE html [<!ENTITY a "aaa"><!ENTITY x SYSTEM "file:///etc/passwd">]><html><p>See &a; and &x; here.</p>',
        "a.html",
    )

    assert "See &a; and &x; here." in document.text
    assert "root" not in document.text
