# SPDX-License-Identifier: Apache-2.0
"""
What MkDocs calls while it builds the site: adds the pages that are generated, and those that live elsewhere.

Pages below docs/ are plain Markdown that any builder takes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

# Not every command that builds the site has the root of the repository on its path.
sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.docs import elsewhere, reference


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files below docs/."""
    made = {path: page.text for path, page in reference.pages().items()}
    made |= elsewhere.pages(Path(config["config_file_path"]).parent)
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files
