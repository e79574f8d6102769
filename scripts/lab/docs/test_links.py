"""The check of links finds what is broken, and nothing else."""

from __future__ import annotations

from pathlib import Path

import links


def tree(root: Path, **files: str) -> Path:
    """Files below `root`; two underscores in a name stand for a slash."""
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_each_kind_of_broken_link_in_markdown_is_found(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        README="[good](docs/a.md#two-words) [gone](docs/b.md) [elsewhere](https://example.org/x)\n",
        docs__a="# One\n\n## Two words\n\n[nowhere](#three) [out](../README.md)\n\n```\n[code](gone.md)\n```\n`[too](gone.md)`\n",
    )
    faults = links.broken_in_markdown(root, [Path("README.md"), Path("docs/a.md")])
    assert [fault.split(": ")[0:2] for fault in faults] == [
        ["README.md:1", "docs/b.md"], ["docs/a.md:5", "#three"], ["docs/a.md:5", "../README.md"],
    ]  # fmt: skip


def test_a_page_that_nobody_listed_is_found(tmp_path: Path) -> None:
    root = tree(tmp_path, docs__SUMMARY="- [A](a.md)\n", docs__a="# A\n", docs__b="# B\n")
    assert links.missing_in_summary(root) == ["docs/SUMMARY.md: b.md is missing"]


def test_headings_are_named_as_mdbook_names_them() -> None:
    text = "# The `roost.toml` file\n## A\n## A\n```\n# no heading\n```\n### [relay.*name*], and so on\n"
    assert links.headings(text) == {"the-roosttoml-file", "a", "a-1", "relayname-and-so-on"}


def test_broken_links_of_built_pages_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<a href="a.html#here">1</a> <a href="a.html#there">2</a> <img src="no.png">')
    (tmp_path / "a.html").write_text('<h1 id="here">A</h1> <a href="https://example.org/">3</a> <a href="#here">4</a>')
    assert links.broken_in_book(tmp_path) == [
        "index.html: a.html#there: there is no such place", "index.html: no.png: there is no such page",
    ]  # fmt: skip
