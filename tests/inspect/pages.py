"""Reads pages: what is open is closed, what is referred to is there, and nothing is fetched."""

from __future__ import annotations

from html.parser import HTMLParser

#: Elements that have no end.
_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Read(HTMLParser):
    """A page.

    Attributes:
        open: Elements that are open; empty at the end of a sound page.
        elements: Name and attributes of each.
        text: All text, without that of scripts and styles.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-3:]} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def having(self, attribute: str) -> list[dict[str, str]]:
        """Attributes of the elements that have one of them."""
        return [a for _, a in self.elements if attribute in a]


def read(text: str) -> Read:
    """A page that is sound."""
    page = Read(text)
    assert page.open == []
    assert text.startswith("<!doctype html>")
    assert not page.having("src")
    assert not [a for a in page.having("href") if "//" in a["href"]]
    assert not [name for name, _ in page.elements if name in ("link", "img", "iframe", "object")]
    return page
