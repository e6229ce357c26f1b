# SPDX-License-Identifier: Apache-2.0
"""Links, anchors and images of the pages."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final

from scripts.docs.elsewhere import REPOSITORY

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$|(?:src|srcset)=\"([^\"]+)\"", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return what the headings of a page are called in links."""
    outside_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", outside_code, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        unique, number = name, 1
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found.add(unique)
    return found


def targets(text: str) -> Iterator[str]:
    """Yield where the links and images of a page lead."""
    outside_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for found in _LINK.findall(re.sub(r"`[^`\n]+`", "", outside_code)):
        yield next(part for part in found if part)


def broken(page: str, texts: Mapping[str, str], files: set[str]) -> Iterator[str]:
    """
    Yield the links of a page that lead nowhere.

    :param page: its path in the site.
    :param texts: all pages by their path in the site.
    :param files: all files of the repository, by their path.
    """
    for target in targets(texts[page]):
        path, _, anchor = target.partition("#")
        if path.startswith(REPOSITORY):
            # The branch has what this checkout has.
            name = path.removeprefix(REPOSITORY)
            if name not in files and not any(file.startswith(f"{name}/") for file in files):
                yield target
        elif "://" not in target and not target.startswith("mailto:"):
            found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
            known = found in texts or f"docs/{found}" in files
            if not known or (anchor and anchor not in anchors(texts.get(found, ""))):
                yield target
