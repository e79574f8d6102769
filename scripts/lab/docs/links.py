#!/usr/bin/env python3
"""Looks whether links within the repository lead somewhere: those of every Markdown file, and those of the book.

mdbook-linkcheck2 does the second alone, and takes minutes to compile. Links to the internet are not tried:
a test must not fail because somebody else's server is down.

usage: links.py        ends with 1 and a line for each link that leads nowhere
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[3]
#: Where the pages of the book lie; what they lead to must lie there too, or the book cannot show it.
PAGES = "docs"
#: `[text](target)`, and pictures.
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE = re.compile(r"^ {0,3}(```|~~~)")


class Page(HTMLParser):
    """What a page leads to, and the places within it that others may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes links and ids."""
        if tag == "base":
            return
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def lines_outside_code(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are no example, with their numbers."""
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := FENCE.match(line):
            fence = "" if fence == found[1] else fence or found[1]
        elif not fence:
            yield number, re.sub(r"`[^`]*`", "``", line)


def headings(text: str) -> set[str]:
    """The names under which Markdown's headings can be reached, as GitHub and mdBook make them."""
    names: set[str] = set()
    fence = ""
    for line in text.splitlines():
        if found := FENCE.match(line):
            fence = "" if fence == found[1] else fence or found[1]
        elif not fence and (title := re.match(r"#{1,6} +(.*)", line)):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title[1])
            name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
            number = 1
            unique = name
            while unique in names:
                unique = f"{name}-{number}"
                number += 1
            names.add(unique)
    return names


def is_elsewhere(link: str) -> bool:
    """Whether a link is somebody else's, or no address of a file."""
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def broken_in_markdown(root: Path, files: list[Path]) -> list[str]:
    """A line for each link of these files (relative to `root`) that leads nowhere."""
    faults = []
    for file in files:
        text = (root / file).read_text()
        for number, line in lines_outside_code(text):
            for link in LINK.findall(line) + re.findall(r'(?:src|href)="([^"]+)"', line):
                if is_elsewhere(link):
                    continue
                path, _, place = unquote(link).partition("#")
                target = (root / file.parent / path).resolve() if path else (root / file)
                where = f"{file}:{number}: {link}"
                if not target.exists():
                    faults.append(f"{where}: there is no such file")
                elif place and target.suffix == ".md" and place not in headings(target.read_text()):
                    faults.append(f"{where}: there is no such heading")
                elif file.parts[0] == PAGES and not target.is_relative_to(root / PAGES):
                    faults.append(f"{where}: the book has no such page; write the path as code instead")
    return faults


def missing_in_summary(root: Path) -> list[str]:
    """A line for each page that the book's table of contents leaves out."""
    pages = root / PAGES
    listed = set(LINK.findall((pages / "SUMMARY.md").read_text()))
    return [
        f"{PAGES}/SUMMARY.md: {page.name} is missing"
        for page in sorted(pages.glob("*.md"))
        if page.name != "SUMMARY.md" and page.name not in listed
    ]


def broken_in_book(book: Path) -> list[str]:
    """A line for each link of the built pages that leads nowhere."""
    pages = {path: Page(path.read_text()) for path in sorted(book.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        # The page for a wrong address is served at any address, so its links begin at the top.
        base = book if path.name == "404.html" else path.parent
        for link in page.links:
            if is_elsewhere(link):
                continue
            name, _, place = unquote(link).partition("#")
            target = (base / name.partition("?")[0]).resolve() if name else path
            if target.is_dir():
                target /= "index.html"
            where = f"{path.relative_to(book)}: {link}"
            if not target.exists():
                faults.append(f"{where}: there is no such page")
            elif place and target in pages and place not in pages[target].places:
                faults.append(f"{where}: there is no such place")
    return faults


def main() -> int:
    """Looks at all of it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    files = [Path(name) for name in listed.split("\0") if name and (ROOT / name).exists()]
    faults = broken_in_markdown(ROOT, files) + missing_in_summary(ROOT) + broken_in_book(ROOT / "build/book")
    print("\n".join(faults) or f"every link of {len(files)} Markdown files and of the book leads somewhere")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
