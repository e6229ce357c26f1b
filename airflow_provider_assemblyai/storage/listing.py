# SPDX-License-Identifier: Apache-2.0
"""Recordings below a prefix or a glob of any store, and the names of files in a folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import abridge
from airflow_provider_assemblyai.api.validation import SHOWN_PATH, shown
from airflow_provider_assemblyai.storage.atomic_files import check_path_text, open_path, store_errors

#: What counts as a recording below a prefix; a glob names its own.
MEDIA: Final = re.compile(
    r".*\.(3ga|8svx|aac|ac3|aiff?|alac|amr|ape|au|dss|flac|flv|m2ts|m4[abprv]|mkv|mogg|mov|mp[234]|mpe?g|mpga|mts|mxf"
    r"|og[ag]|opus|qcp|ts|tta|voc|wav|webm|wma|wv)",
    re.IGNORECASE | re.DOTALL,
)
_GLOB: Final = re.compile(r"[*?\[]")
_WILDCARDS: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_ETAGS: Final = ("ETag", "etag", "md5Hash", "content_md5", "generation", "VersionId")

#: Objects that S3 lists at once.
_S3_PAGE: Final = 1000
#: Path and content version.
MediaFile = tuple[str, str | None]


def is_media_listing(text: str) -> bool:
    """Return whether a text names many files: a glob, or a folder."""
    if text.lower().startswith(("http://", "https://")):
        return False
    if _glob_in(check_path_text(text, "audios")):
        return True
    path = open_path(text, "audios", resolve=True)
    with store_errors("audios", text):
        try:
            return bool(path.fs.info(path.path).get("type") == "directory")
        except FileNotFoundError:
            if path.protocol in ("", "file", "local"):
                raise InvalidInput(f"audios: {abridge(text)} does not exist.") from None
            return True  # an object store has no empty folders


def _glob_in(text: str) -> re.Match[str] | None:
    """Return where a glob begins; None if there is none, or if it is the very name of a file or folder."""
    glob = _GLOB.search(text)
    if glob is None:
        return None
    if "://" in text and "/" not in text[: glob.start()].partition("://")[2]:
        raise InvalidInput(f"audios: {shown(text, SHOWN_PATH)}: a glob begins after the bucket.")
    path = open_path(text, "audios", resolve=True)
    with store_errors("audios", text):
        try:
            path.fs.info(path.path)
        except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError):
            return glob
    return None


def list_media(text: str, excluding: ObjectStoragePath, page_size: int = _S3_PAGE) -> Iterator[MediaFile]:
    """
    Yield the path and content version of each recording, as they are listed; they are never held at once.

    :param text: a folder, or a glob: ``*`` and ``?`` within a name, ``**`` for folders.
    :param excluding: results go there, and are no recordings.
    :param page_size: objects that S3 lists at once.
    """
    glob = _glob_in(text)
    base_text = text[: glob.start()].rpartition("/")[0] if glob else text.rstrip("/")
    base = open_path(base_text or ("/" if text.startswith("/") else "."), "audios", resolve=True)
    uri = str(base).rstrip("/")
    wanted = glob_pattern(text[len(base_text) :].lstrip("/")) if glob else MEDIA
    excluded = _path_within(base, excluding)
    with store_errors("audios", text):
        for name, info in _files(base, page_size=page_size):
            hidden = any(part.startswith(".") for part in name.split("/"))
            if hidden or (excluded is not None and name.startswith(excluded)):
                continue
            if wanted.fullmatch(name):
                yield f"{uri}/{name}", _content_version(info)


def list_names(folder: ObjectStoragePath) -> Iterator[str]:
    """Yield the names of the files right in a folder, as they are listed; none if it is not there."""
    with store_errors("output_path", str(folder)), suppress(FileNotFoundError):
        for name, info in _files(folder, recursive=False):
            if info and "/" not in name:
                yield name


def find_content_version(audio: str) -> str | None:
    """Return what changes with the content of a file; None for a URL, and for a file that is not there."""
    if audio.lower().startswith(("http://", "https://")):
        return None
    path = open_path(audio, "audio", resolve=True)
    try:
        return _content_version(path.fs.info(path.path))
    except OSError:
        return None


def etag(info: Mapping[str, Any]) -> str | None:
    """Return what a store itself says changes with the content of a file; None if it does not say so."""
    return next((str(info[name]) for name in _ETAGS if info.get(name)), None)


def _content_version(info: Mapping[str, Any]) -> str:
    changed_at = info.get("mtime") or info.get("last_modified") or info.get("updated")
    return etag(info) or f"{info.get('size')}:{changed_at}"


def _files(
    base: ObjectStoragePath, *, recursive: bool = True, page_size: int = _S3_PAGE
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the files below a folder, by their path in it."""
    if base.protocol in ("", "file", "local"):
        yield from _local_files(base.path, "", recursive)
    elif base.protocol in ("s3", "s3a"):
        yield from _s3_files(base, recursive, page_size)
    else:
        yield from _folder_files(base, recursive)


def _folder_files(base: ObjectStoragePath, recursive: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # One folder at a time; other stores give no smaller pages. Not by walk(): below the first folder that takes a
    # listing that failed for one without files.
    base.fs.invalidate_cache()
    root, folders = base.path.rstrip("/"), [base.path.rstrip("/")]
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError):  # an object store has no empty folders
            for info in base.fs.ls(folder, detail=True):
                path = str(info["name"]).rstrip("/")
                if info["type"] == "directory" and path != folder:
                    folders += [path] if recursive else []
                elif info.get("size") != 0:
                    yield path[len(root) :].lstrip("/"), info


def _local_files(
    folder: str, prefix: str, recursive: bool, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """
    Yield the files of a folder; a link that leads nowhere is one, too, so that it is not left out in silence.

    :param above: the folders that it is in, by device and number: a link back to one of them is not followed.
    """
    here = Path(folder).stat()
    above |= {(here.st_dev, here.st_ino)}
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = entry.stat()
            except OSError:
                yield f"{prefix}{entry.name}", {}
                continue
            if stat.S_ISREG(found.st_mode):
                yield f"{prefix}{entry.name}", {"size": found.st_size, "mtime": found.st_mtime}
            elif stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) not in above:
                folders.append(entry.name)
    for name in sorted(folders) if recursive else ():
        if not name.startswith("."):
            yield from _local_files(f"{folder}/{name}", f"{prefix}{name}/", recursive, above)


def _s3_files(
    base: ObjectStoragePath, recursive: bool, page_size: int
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # Listing a folder with 100,000 objects by the usual way holds, and caches, all of them.
    bucket, key, _ = base.fs.split_path(base.path)
    prefix = f"{key.rstrip('/')}/" if key else ""
    options: dict[str, Any] = {} if recursive else {"Delimiter": "/"}
    while True:
        page = base.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=page_size, **options)
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):
                yield found["Key"][len(prefix) :], {"ETag": found["ETag"], "size": found["Size"]}
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


def _path_within(base: ObjectStoragePath, folder: ObjectStoragePath) -> str | None:
    """Return the path of a folder within another; None if it is not in it."""
    if base.protocol.replace("file", "") != folder.protocol.replace("file", ""):
        return None
    outer, inner = base.path.rstrip("/"), folder.path.rstrip("/")
    return f"{inner[len(outer) + 1 :]}/" if inner.startswith(f"{outer}/") else None


def glob_pattern(glob: str) -> re.Pattern[str]:
    """
    Return a glob as a regular expression.

    :raises InvalidInput: it is none.
    """
    pattern = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", glob, re.DOTALL):
        if part in _WILDCARDS:
            pattern += _WILDCARDS[part]
        elif len(part) > 1:
            characters = re.escape(part.strip("[]!")).replace(r"\-", "-")
            pattern += f"[^{characters}]" if part[1] == "!" else f"[{characters}]"
        else:
            pattern += re.escape(part)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise InvalidInput(f"audios: {shown(glob, SHOWN_PATH)} is no glob: {error.msg}.") from None
