# SPDX-License-Identifier: Apache-2.0
"""The recordings of a batch: what the user gave, one by one, each with a key and a name that stay the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import canonical_url, sanitize, strip_url
from airflow_provider_assemblyai.jobs.state import fingerprint_of
from airflow_provider_assemblyai.storage.listing import is_media_listing, list_media, listed_version_of
from airflow_provider_assemblyai.storage.outputs import open_path, output_name


@dataclass(frozen=True, slots=True)
class Item:
    """
    One recording and what is asked of it.

    :param key: the same for the same recording, request and connection; 32 hex digits.
    :param audio: its address; empty if the list does not have it any more, and only its job is left.
    :param config: what to ask for, with the overrides of this item.
    :param shown: the address as it may be shown.
    :param name: what its files are named; unique and stable.
    :param place: where it is in the list; None if it was found in a store.
    :param version: changes with the content, where a store says so.
    :param wrong: why it cannot be submitted.
    """

    key: str
    audio: str
    config: Mapping[str, Any]
    shown: str
    name: str
    place: int | None = None
    version: str | None = None
    wrong: str | None = None


class Items:
    """
    What the user gave.

    :param audios: a list of addresses or of ``{"audio": ..., "config": {...}}``, one address, a folder, a glob, or a
        list as JSON text.
    :param config: what to ask for.
    :param conn_id: the connection.
    :param results: where results go; nothing there is a recording.
    :raises InvalidInput: it is none of these.
    """

    def __init__(
        self, audios: object, config: Mapping[str, Any], conn_id: str, results: ObjectStoragePath
    ) -> None:
        self._config = config
        self._conn_id = conn_id
        self._results = results
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
        elif isinstance(audios, Sequence) and not isinstance(audios, bytes):
            self._list = audios
        elif hasattr(audios, "__iter__") and not isinstance(audios, Mapping | bytes):
            # What a mapped task returned comes as a sequence that is read while it is walked.
            self._list = list(audios)
        else:
            raise InvalidInput(f"audios must be a list, a folder or a glob, not {type(audios).__name__}.")

    def __iter__(self) -> Iterator[Item]:
        if self._folder is not None:
            for path, version in list_media(self._folder, self._results):
                yield self.found(path, version)
            return
        for place in range(len(self._list)):
            yield self.at(place)

    def at(self, place: int) -> Item:
        """Return an item of the list."""
        if place >= len(self._list):
            raise InvalidInput("audios has become shorter since this task began: it must stay the same.")
        given = self._list[place]
        config: Any = {}
        if isinstance(given, Mapping):
            config = given.get("config") or {}
            extra = set(given) - {"audio", "config"}
            if extra:
                return self._wrong(
                    given, place, f"audios: an item knows audio and config, not {sorted(extra)}."
                )
            given = given.get("audio")
        if isinstance(given, PathLike | ObjectStoragePath):
            given = str(given)
        if not isinstance(given, str) or not given.strip():
            return self._wrong(given, place, f"audios: item {place} has no audio.")
        try:
            merged = {**self._config, **transcripts.check_config(config)} if config else self._config
            return self._item(given, merged, place)
        except InvalidInput as error:
            return self._wrong(self._list[place], place, str(error))

    def found(self, path: str, version: str | None) -> Item:
        """Return an item of a store."""
        return self._item(path, self._config, None, version)

    def _item(
        self, audio: str, config: Mapping[str, Any], place: int | None, version: str | None = None
    ) -> Item:
        if audio.lower().startswith(("http://", "https://")):
            source, shown = canonical_url(audio), strip_url(audio)
        else:
            # In this thread: it may ask Airflow for the store's connection.
            path = open_path(audio, "audio")
            source = shown = str(path) if "://" in str(path) else f"file://{path}"
            shown = strip_url(shown) if "@" not in shown else shown
        key = fingerprint_of(self._conn_id, source, config)[:32]
        return Item(key, audio, config, shown, f"{output_name(audio)}-{key[:12]}", place, version)

    def _wrong(self, given: object, place: int, why: str) -> Item:
        key = fingerprint_of(self._conn_id, f"wrong:{given!r}", {})[:32]
        shown = strip_url(given) if isinstance(given, str) and "://" in given else sanitize(f"item {place}")
        return Item(key, "", {}, shown, f"item-{key[:12]}", place, None, why)


def with_version(item: Item) -> Item:
    """Return an item with its version, asking its store if that did not say so."""
    if item.version is not None or item.wrong is not None or not item.audio:
        return item
    return replace(item, version=listed_version_of(item.audio))
