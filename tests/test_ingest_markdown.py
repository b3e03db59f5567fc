from tests.parsing import blocks_of, read, sentences_of


def test_markup_is_gone_and_structure_is_kept() -> None:
    """The text is what a visitor would be shown; links keep their words."""
    document = read(
        "# Shop\n\nWe are *open* on [weekdays](/hours) and `cheap`.\n\n## Bread\n\n- Rye\n- Wheat\n  - Spelt\n\n"
        "1. Order\n2. Pay\n\n> Quoted.\n\n```\nx = 1\ny = 2\n```\n",
        "a.md",
    )

    assert blocks_of(document) == [
        ("heading", "Shop"),
        ("paragraph", "We are open on weekdays and cheap."),
        ("heading", "Bread"),
        ("list item", "Rye"),
        ("list item", "Wheat"),
        ("list item", "Spelt"),
        ("list item", "Order"),
        ("list item", "Pay"),
        ("paragraph", "Quoted."),
        ("code", "x = 1\ny = 2"),
    ]
    assert "- Rye\n- Wheat\n  - Spelt\n\n1. Order\n2. Pay" in document.text
    assert [block.headings for block in document.blocks][1:4] == [("Shop",), ("Shop", "Bread"), ("Shop", "Bread")]


def test_a_table_row_can_be_quoted_alone() -> None:
    """Every row says its columns' names."""
    document = read("| Day | Shop |\n|---|---|\n| Monday | closed |\n| Tuesday | 7:00 |\n", "a.md")

    assert sentences_of(document) == ["Day: Monday; Shop: closed.", "Day: Tuesday; Shop: 7:00."]


def test_the_title_is_the_front_matters() -> None:
    """Front matter gives the title and is no text; without it the first heading does, then the name."""
    with_front = read('---\ntitle: "Our hours"\ntags: [a]\n---\n\n# Hours\n\nNine to six.\n', "a.md")

    assert with_front.title == "Our hours"
    assert with_front.text == "Hours\n\nNine to six."
    assert read("Text.\n\n## Small\n\n# Large\n", "a.md").title == "Large"
    assert read("Just text.\n", "docs/price-list_2024.md").title == "Price list 2024"


def test_what_site_generators_add_is_left_out() -> None:
    """Template tags, attributes, admonitions, imports, callouts and footnote marks are no text; code keeps them."""
    document = read(
        'import Tabs from "@theme/Tabs"\n\n# Help {#help}\n\nSee [hours]({% page\n "/hours" %}) of {{ site }}us.[^1]\n'
        "{: .note}\n\n"
        '!!! note "Mind"\n    The oven is hot.\n\n:::tip\nBe early.\n:::\n\n> [!WARNING]\n> Steep stairs.\n\n'
        "- [x] Done\n\nWrite `{{ name }}`.\n\n```\n{% keep %}\n```\n\n[^1]: A footnote.\n",
        "a.md",
    )

    assert [text for _, text in blocks_of(document)] == [
        "Help",
        "See hours of us.",
        "Mind",
        "The oven is hot.",
        "Be early.",
        "Steep stairs.",
        "Done",
        "Write {{ name }}.",
        "{% keep %}",
        "A footnote.",
    ]


def test_html_inside_is_read_as_text() -> None:
    """Tags inside Markdown leave their words, hidden ones nothing."""
    document = read(
        "Opening<br>hours <b>now</b>\n\n<details><summary>More?</summary>\n\nYes.\n\n</details>\n\nEnd. "
        '<span hidden>secret</span><script>alert("x")</script>\n',
        "a.md",
    )

    assert blocks_of(document) == [
        ("paragraph", "Opening\nhours now"),
        ("heading", "More?"),
        ("paragraph", "Yes."),
        ("paragraph", "End."),
    ]
    assert document.blocks[-1].headings == ()


def test_a_text_without_a_suffix_may_be_markdown() -> None:
    """Standard input with a heading is read as Markdown, other text as text."""
    assert read("# Hours\n\nNine to *six*.\n", "standard input").text == "Hours\n\nNine to six."
    assert read("We take 3 * 4 * 5 loaves.\n", "standard input").text == "We take 3 * 4 * 5 loaves."
