"""Text of others stays text in Markdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dutchdoor.audit.outputs.markdown import escaped, markdown
from dutchdoor.audit.outputs.model import Page, Section, Table, Text


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40))
def test_another_reader_shows_exactly_the_text(text: str) -> None:
    tokens = MarkdownIt().parse(f"{escaped(text)}\n")
    shown = " ".join(text.split())
    if not shown:
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == shown


def test_a_cell_opens_no_other_cell() -> None:
    table = Table(("a", "b"), (("1 | 2", "three\nfour"),))
    page = markdown(Page("t", "l", (Section("s", (table, Text("- no list"))),)))
    assert "| 1 \\| 2 | three four |" in page
    assert "\\- no list" in page
