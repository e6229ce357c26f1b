# SPDX-License-Identifier: Apache-2.0
"""The recordings below a prefix or a glob of any store, one after the other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.storage.outputs import open_path, store_errors

#: What is taken for a recording below a prefix; a glob says itself what it means.
MEDIA: Final = re.compile(
    r".*\.(3ga|8svx|aac|ac3|aiff?|alac|amr|ape|au|dss|flac|flv|m2ts|m4[abprv]|mkv|mogg|mov|mp[234]|mpe?g|mpga|mts|mxf"
    r"|og[ag]|opus|qcp|ts|tta|voc|wav|webm|wma|wv)",
    re.IGNORECASE,
)
_GLOB: Final = re.compile(r"[*?\[]")
#: Under which names stores give what changes with the content of an object.
_ETAGS: Final = ("ETag", "etag", "md5Hash", "content_md5", "generation", "VersionId")

#: Objects that S3 lists at once.
_PAGE: Final = 1000

Found = tuple[str, str | None]


def is_media_listing(text: str) -> bool:
    """Tell whether a text means many files: a glob, or a folder."""
    if text.lower().startswith(("http://", "https://")):
        return False
    if _GLOB.search(text):
        return True
    path = open_path(text, "audios")
    with store_errors("audios", text):
        try:
            return bool(path.fs.info(path.path).get("type") == "directory")
        except FileNotFoundError:
            if path.protocol in ("", "file", "local"):
                raise InvalidInput(f"audios: {text} does not exist.") from None
            return True  # an object store has no empty folders
    return False


def list_media(text: str, without: ObjectStoragePath) -> Iterator[Found]:
    """
    Yield the path and version of each recording, as they are listed; nobody holds them all.

    :param text: a folder, or a glob: ``*`` and ``?`` within a name, ``**`` for folders.
    :param without: results go there, and are no recordings.
    """
    begin = _GLOB.search(text)
    base_text = text[: begin.start()].rpartition("/")[0] if begin else text.rstrip("/")
    base = open_path(base_text or ("/" if text.startswith("/") else "."), "audios")
    shown = str(base).rstrip("/")
    wanted = _pattern(text[len(base_text) :].lstrip("/")) if begin else None
    results = _inside(base, without)
    with store_errors("audios", text):
        for name, info in _files(base):
            hidden = any(part.startswith(".") for part in name.split("/"))
            if hidden or (results is not None and name.startswith(results)):
                continue
            if (wanted or MEDIA).fullmatch(name):
                yield f"{shown}/{name}", listed_version(info)


def names_in(folder: ObjectStoragePath) -> Iterator[str]:
    """Yield the names of the files right in a folder, as they are listed; none if it is not there."""
    with store_errors("output_path", str(folder)), suppress(FileNotFoundError):
        for name, _ in _files(folder, deep=False):
            if "/" not in name:
                yield name


def etag(info: Mapping[str, Any]) -> str | None:
    """Return what a store says changes with the content of an object, or None."""
    return next((str(info[name]) for name in _ETAGS if info.get(name)), None)


def listed_version(info: Mapping[str, Any]) -> str:
    """Return what changes with the content of a file, as far as its store says without reading it."""
    changed_at = info.get("mtime") or info.get("last_modified") or info.get("updated")
    return etag(info) or f"{info.get('size')}:{changed_at}"


def listed_version_of(audio: str) -> str | None:
    """Return the same of one file; None for a URL, and for a file that is not there."""
    if audio.lower().startswith(("http://", "https://")):
        return None
    path = open_path(audio, "audio")
    try:
        return listed_version(path.fs.info(path.path))
    except OSError:
        return None


def _files(base: ObjectStoragePath, *, deep: bool = True) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the files below a folder, by their path in it."""
    if base.protocol in ("", "file", "local"):
        yield from _local(base.path, "", deep)
    elif base.protocol in ("s3", "s3a"):
        yield from _s3(base, deep)
    else:
        # One folder at a time; other stores give no smaller pages.
        base.fs.invalidate_cache()
        root = base.path.rstrip("/")
        for folder, _, files in base.fs.walk(base.path, maxdepth=None if deep else 1, detail=True):
            for name, info in files.items():
                if info.get("size") != 0:
                    yield f"{folder}/{name}"[len(root) :].lstrip("/"), info


def _local(folder: str, above: str, deep: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    inner = []
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir():
                inner.append(entry.name)
            elif entry.is_file():
                stat = entry.stat()
                yield f"{above}{entry.name}", {"size": stat.st_size, "mtime": stat.st_mtime}
    for name in sorted(inner) if deep else ():
        if not name.startswith("."):
            yield from _local(f"{folder}/{name}", f"{above}{name}/", deep)


def _s3(base: ObjectStoragePath, deep: bool) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # Listing a folder with 100,000 objects by the usual way holds, and caches, all of them.
    bucket, key, _ = base.fs.split_path(base.path)
    prefix = f"{key.rstrip('/')}/" if key else ""
    more: dict[str, Any] = {} if deep else {"Delimiter": "/"}
    while True:
        page = base.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE, **more)
        for found in page.get("Contents", ()):
            if not found["Key"].endswith("/"):
                yield found["Key"][len(prefix) :], {"ETag": found["ETag"], "size": found["Size"]}
        if not page.get("IsTruncated"):
            return
        more |= {"ContinuationToken": page["NextContinuationToken"]}


def _inside(base: ObjectStoragePath, folder: ObjectStoragePath) -> str | None:
    """Return the path of a folder within another, if it is there."""
    if base.protocol.replace("file", "") != folder.protocol.replace("file", ""):
        return None
    outer, inner = base.path.rstrip("/"), folder.path.rstrip("/")
    return f"{inner[len(outer) + 1 :]}/" if inner.startswith(f"{outer}/") else None


def _pattern(glob: str) -> re.Pattern[str]:
    parts = []
    for part in re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", glob):
        if part == "**/":
            parts.append("(?:.*/)?")
        elif part == "**":
            parts.append(".*")
        elif part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif len(part) > 1:
            parts.append(
                "[" + ("^" if part[1] == "!" else "") + re.escape(part.strip("[]!")).replace(r"\-", "-") + "]"
            )
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))
