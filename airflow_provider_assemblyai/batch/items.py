# SPDX-License-Identifier: Apache-2.0
"""The recordings of a batch: what the user gave, one by one, each with a key and a name that stay the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import canonical_url, sanitize, strip_url
from airflow_provider_assemblyai.jobs.state import JobState, fingerprint_of
from airflow_provider_assemblyai.storage.atomic_files import open_path, output_name
from airflow_provider_assemblyai.storage.listing import find_content_version, is_media_listing, list_media


@dataclass(frozen=True, slots=True)
class Item:
    """
    One recording and what is asked of it.

    :param key: the same for the same recording, request and connection; 32 hex digits.
    :param audio: its address; empty if the list does not have it any more, and only its job is left.
    :param config: what to ask for, with the overrides of this item.
    :param source: the address without what opens it.
    :param name: what its files are named; unique and stable.
    :param index: its index in the list; None if it was found in a store.
    :param content_version: changes with the content, where a store says so.
    :param error: why it cannot be submitted.
    """

    key: str
    audio: str
    config: Mapping[str, Any]
    source: str
    name: str
    index: int | None = None
    content_version: str | None = None
    error: str | None = None

    def stored(self) -> dict[str, Any]:
        """Return what the plan and the ledger hold of it: never its address in a list, which may open it."""
        stored = {"key": self.key, "content_version": self.content_version}
        if self.index is not None:
            return {**stored, "index": self.index}
        if self.audio:
            return {**stored, "path": self.audio}
        return {**stored, "orphaned": True, "source": self.source, "name": self.name}


@dataclass
class InFlightItem:
    """
    An item whose job has not ended.

    :param item: the item.
    :param job_state: of its job; empty before there is one.
    :param run: the run that submitted it.
    :ivar transcript_id: of its job; empty before there is one.
    """

    item: Item
    job_state: JobState
    run: str

    @property
    def transcript_id(self) -> str:
        return self.job_state.get("transcript_id") or ""

    def entry(self) -> dict[str, Any]:
        """Return its open entry of the ledger."""
        return {
            **self.item.stored(),
            "source": self.item.source,
            "name": self.item.name,
            "run": self.run,
            "job_state": self.job_state,
        }


class Items:
    """
    What the user gave.

    :param audios: a list of addresses or of ``{"audio": ..., "config": {...}}``, one address, a folder, a glob, or a
        list as JSON text.
    :param config: what to ask for.
    :param conn_id: the connection.
    :param output_path: where results go; nothing there is a recording.
    :raises InvalidInput: it is none of these.
    """

    def __init__(
        self, audios: object, config: Mapping[str, Any], conn_id: str, output_path: ObjectStoragePath
    ) -> None:
        self._config = config
        self._conn_id = conn_id
        self._output_path = output_path
        self._folder: str | None = None
        self._list: Sequence[Any] = ()
        if isinstance(audios, PathLike | ObjectStoragePath):
            audios = str(audios)
        if isinstance(audios, str) and audios.lstrip().startswith("["):
            try:
                audios = json.loads(audios)
            except ValueError:
                raise InvalidInput("audios is text that begins like a list, but is not JSON.") from None
        if isinstance(audios, str):
            if not audios.strip():
                raise InvalidInput("audios is empty.")
            if is_media_listing(audios):
                self._folder = audios
            else:
                self._list = [audios]
        elif isinstance(audios, Iterable) and not isinstance(audios, Mapping | bytes):
            # What a mapped task returned comes as a sequence that is read while it is walked.
            self._list = audios if isinstance(audios, Sequence) else list(audios)
        else:
            raise InvalidInput(f"audios must be a list, a folder or a glob, not {type(audios).__name__}.")

    def __iter__(self) -> Iterator[Item]:
        if self._folder is not None:
            for path, version in list_media(self._folder, self._output_path):
                yield self._item(path, self._config, version=version)
        for index in range(len(self._list)):
            yield self._at(index)

    def restore(self, stored: Mapping[str, Any]) -> Item:
        """
        Return the item that :meth:`Item.stored` was called on.

        :raises InvalidInput: the list is another one now.
        """
        version = stored["content_version"]
        if stored.get("orphaned"):
            return orphaned_item(stored)
        if "path" in stored:
            return self._item(stored["path"], self._config, version=version)
        item = self._at(stored["index"]) if stored["index"] < len(self._list) else None
        if item is None or item.key != stored["key"]:
            raise InvalidInput(
                "audios or config have changed since this task began: they must stay the same."
            )
        return replace(item, content_version=version)

    def _at(self, index: int) -> Item:
        given = self._list[index]
        try:
            return self._parse(given, index)
        except InvalidInput as error:
            key = fingerprint_of(self._conn_id, f"invalid:{given!r}", {})[:32]
            url = isinstance(given, str) and "://" in given
            source = strip_url(given) if url else sanitize(f"item {index}")
            return Item(key, "", {}, source, f"item-{key[:12]}", index, None, str(error))

    def _parse(self, given: Any, index: int) -> Item:
        config: Any = {}
        if isinstance(given, Mapping):
            config = given.get("config") or {}
            if extra := set(given) - {"audio", "config"}:
                raise InvalidInput(f"audios: an item knows audio and config, not {sorted(extra)}.")
            given = given.get("audio")
        if isinstance(given, PathLike | ObjectStoragePath):
            given = str(given)
        if not isinstance(given, str) or not given.strip():
            raise InvalidInput(f"audios: item {index} has no audio.")
        merged = {**self._config, **transcripts.check_config(config)} if config else self._config
        return self._item(given, merged, index)

    def _item(
        self, audio: str, config: Mapping[str, Any], index: int | None = None, version: str | None = None
    ) -> Item:
        if audio.lower().startswith(("http://", "https://")):
            identity, source = canonical_url(audio), strip_url(audio)
        else:
            # In this thread: it may ask Airflow for the store's connection.
            path = open_path(audio, "audio")
            identity = source = str(path) if "://" in str(path) else f"file://{path}"
            source = strip_url(source) if "@" not in source else source
        key = fingerprint_of(self._conn_id, identity, config)[:32]
        return Item(key, audio, config, source, f"{output_name(audio)}-{key[:12]}", index, version)


def orphaned_item(entry: Mapping[str, Any]) -> Item:
    """Return the item of an open entry of the ledger whose recording is not in the list any more."""
    return Item(entry["key"], "", {}, entry["source"], entry["name"], None, entry["content_version"])


def with_content_version(item: Item) -> Item:
    """Return an item with its content version, asking its store if that did not say so."""
    if item.content_version is not None or item.error is not None or not item.audio:
        return item
    return replace(item, content_version=find_content_version(item.audio))
