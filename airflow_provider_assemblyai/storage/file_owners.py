# SPDX-License-Identifier: Apache-2.0
"""
Whose the files of one name are, so that no task overwrites the result of another recording.

The owner of a name is in ``<output_path>/.assemblyai/owners/<name>.json``, which is created once and never changed: the
first that asks for a name has it. Another one gets the name with a digest of its identity, in every run and every try.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from typing import Final

from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, create_file, read_bytes

VERSION: Final = 1
#: Hex digits of the identity in a name. More only where another name looks like one with fewer.
_DIGITS: Final = (0, 8, 16, 64)
#: How files of a name without them end as well: ``a.sentences.json`` is also a file of the name ``a``.
AMBIGUOUS: Final = (".sentences", ".paragraphs", ".redacted")

log = logging.getLogger(__name__)


def claim_name(outputs: OutputFiles, identity: str) -> OutputFiles:
    """
    Return where the files of an owner go: to the name that is wanted, unless that is another one's.

    :param outputs: of the name that is wanted.
    :param identity: names the owner; the same in every run and every try. Only its hash is stored.
    :raises InvalidInput: the name is another one's, and too long for a digest.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    owner = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    ambiguous = outputs.name.lower().endswith(AMBIGUOUS)
    for digits in _DIGITS[1:] if ambiguous else _DIGITS:
        name = f"{outputs.name}-{owner[:digits]}" if digits else outputs.name
        if _is_owner(replace(outputs, name=name), owner):
            break
    if name != outputs.name:
        log.warning(
            "The files %s in %s are another recording's%s: those of this one are named %s.",
            outputs.name,
            outputs.prefix,
            ", or would be, by how their name ends" if ambiguous else "",
            name,
        )
    return replace(outputs, name=name)


def _is_owner(outputs: OutputFiles, owner: str) -> bool:
    """Return whether a name is this owner's, taking it if it has no owner."""
    record = OutputFiles(outputs.prefix / ".assemblyai" / "owners", outputs.name)
    path = record.path("json")
    content = read_bytes(path)
    if content is None:
        if create_file(path, json.dumps({"version": VERSION, "owner": owner})):
            return True
        content = read_bytes(path)
    try:
        found = json.loads(content or b"")
    except (ValueError, RecursionError):
        return False  # its owner is not known
    return isinstance(found, dict) and found.get("version") == VERSION and found.get("owner") == owner
