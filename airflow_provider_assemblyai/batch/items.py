# SPDX-License-Identifier: Apache-2.0
"""The recordings of a batch: what the user gave, one by one, each with a key and a name that stay the same."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput, StorageError
from airflow_provider_assemblyai.api.prices.estimates import PriceList, Rate
from airflow_provider_assemblyai.api.sanitize import (
    canonical_url,
    canonical_url_of_old_states,
    escape,
    strip_url,
)
from airflow_provider_assemblyai.api.validation import shown
from airflow_provider_assemblyai.batch.caps import Spent
from airflow_provider_assemblyai.jobs.audio import (
    check_address,
    check_source_id,
    identity_without_query,
    is_url,
    locate,
    requested_duration,
)
from airflow_provider_assemblyai.jobs.state import JobState, fingerprint_of, hash_of
from airflow_provider_assemblyai.storage.atomic_files import file_name, output_name
from airflow_provider_assemblyai.storage.listing import find_content_version, is_media_listing, list_media

log = logging.getLogger(__name__)


#: Fields of an item's entries that say what its run has spent on it before its present job.
SPENDING: Final = ("earlier_minutes", "earlier_cost_usd", "earlier_unknown")


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
    :param source_id: the user's name for the recording, or None.
    :param address_fingerprint: of a URL: what the key would be if its query did not count.
    :param former_key: of a URL: the key that it had when less of its query counted, if that is another one.
    """

    key: str
    audio: str
    config: Mapping[str, Any]
    source: str
    name: str
    index: int | None = None
    content_version: str | None = None
    error: str | None = None
    source_id: str | None = None
    address_fingerprint: str | None = None
    former_key: str | None = None

    @property
    def has_former_key(self) -> bool:
        """Whether it goes by the key that it had when less of its URL's query counted."""
        return self.key == self.former_key

    def with_former_key(self) -> Item:
        """Return it under that key, with the name that its files had."""
        if self.former_key is None:
            return self
        name = self.name.removesuffix(self.key[:12]) + self.former_key[:12]
        return replace(self, key=self.former_key, name=name)

    @property
    def address_entry(self) -> dict[str, str | None]:
        """What entries of the ledger hold of its address: nothing under a former key, which is known by that."""
        return {} if self.has_former_key else {"address_fingerprint": self.address_fingerprint}

    def stored(self) -> dict[str, Any]:
        """Return what the plan and the ledger hold of it: never its address in a list, which may open it."""
        stored: dict[str, Any] = {"key": self.key, "content_version": self.content_version}
        if self.error is not None:
            stored["error"] = self.error
        if self.index is not None:
            return {**stored, "index": self.index}
        if self.audio:
            return {**stored, "path": self.audio}
        return {**stored, "orphaned": True, "source": self.source, "name": self.name, **self.address_entry}


@dataclass
class InFlightItem:
    """
    An item whose job has not ended.

    :param item: the item.
    :param job_state: of its job; empty before there is one.
    :param run: the run that submitted it.
    :param earlier_minutes: of audio of jobs that its run had submitted for it before.
    :param earlier_cost_usd: the same in estimated dollars.
    :param cost_usd: of its job, where that is known before it has ended.
    :param earlier_unknown: of the earlier jobs, those whose length was not known: each had that of the present job.
    :ivar transcript_id: of its job; empty before there is one.
    """

    item: Item
    job_state: JobState
    run: str
    earlier_minutes: float = 0.0
    earlier_cost_usd: float = 0.0
    cost_usd: float | None = None
    earlier_unknown: int = 0

    @property
    def transcript_id(self) -> str:
        return self.job_state.get("transcript_id") or ""

    @property
    def may_have_job(self) -> bool:
        """Whether something was posted for it, and may be paid for already."""
        return bool(self.job_state.get("transcript_id") or self.job_state.get("url_hashes"))

    def end_job(self) -> Spent:
        """Note that another job takes the place of its own, which is paid for; return what that has cost, if it is known."""
        ended = Spent((self.job_state.get("duration") or 0.0) / 60, self.cost_usd or 0.0)
        if self.cost_usd is None:
            self.earlier_unknown += 1
            ended = Spent()
        else:
            self._add_earlier(ended)
        self.cost_usd = None
        return ended

    def settle(self, minutes: float, cost_usd: float | None) -> Spent:
        """
        Take in what the present job has cost, and return what those of unknown length have.

        :param minutes: of audio.
        :param cost_usd: estimated, or None.
        """
        found = Spent(self.earlier_unknown * minutes, self.earlier_unknown * (cost_usd or 0.0))
        self._add_earlier(found)
        self.earlier_unknown = 0
        return found

    def _add_earlier(self, spent: Spent) -> None:
        self.earlier_minutes += spent.minutes
        self.earlier_cost_usd = round(self.earlier_cost_usd + spent.cost_usd, 6)

    @property
    def spending(self) -> dict[str, float]:
        """What entries of the ledger hold of earlier jobs, if there were any."""
        held = {name: getattr(self, name) for name in SPENDING}
        return held if any(held.values()) else {}

    def entry(self) -> dict[str, Any]:
        """Return its open entry of the ledger."""
        cost = {} if self.cost_usd is None else {"cost_usd": self.cost_usd}
        return {
            **self.item.stored(),
            "source": self.item.source,
            "name": self.item.name,
            **self.item.address_entry,
            "run": self.run,
            "job_state": self.job_state,
            **self.spending,
            **cost,
        }


class Items:
    """
    What the user gave.

    :param audios: a list of addresses or of ``{"audio": ..., "config": {...}, "source_id": ...}``, one address, a folder, a glob, or a
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
        self._has_told_of_relative = False
        self._list: Sequence[Any] = ()
        if isinstance(audios, PathLike | ObjectStoragePath):
            audios = str(audios)
        if isinstance(audios, str) and audios.lstrip().startswith("["):
            try:
                audios = json.loads(audios)
            except (ValueError, RecursionError):
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
            self._tell_if_relative(self._folder)
            for path, version in list_media(self._folder, self._output_path):
                yield self._found(path, version)
        for index in range(len(self._list)):
            yield self._at(index)

    def rate(self, prices: PriceList) -> Rate:
        """Return what an hour of an item costs that has no config of its own."""
        return prices.request_rate(self._config)

    def restore(self, stored: Mapping[str, Any]) -> Item:
        """
        Return the item that :meth:`Item.stored` was called on.

        :raises InvalidInput: the list is another one now.
        """
        version = stored["content_version"]
        if stored.get("orphaned"):
            return orphaned_item(stored)
        if "path" in stored:
            return self._found(stored["path"], version)
        item = self._at(stored["index"]) if stored["index"] < len(self._list) else None
        if item is not None and item.former_key == stored["key"] and _may_be_of(item, stored):
            item = item.with_former_key()
        if item is None or item.key != stored["key"]:
            raise InvalidInput(
                "audios or config have changed since this task began: they must stay the same."
            )
        return replace(item, content_version=version, error=stored.get("error") or item.error)

    def _found(self, path: str, version: str | None) -> Item:
        """Return the item of a file that was found in a store; one that cannot be read is an item, too."""
        try:
            return self._item(path, self._config, version=version)
        except InvalidInput as error:
            return self._invalid(f"invalid:{path}", escape(path), error, audio=path, version=version)

    def _at(self, index: int) -> Item:
        given = self._list[index]
        try:
            return self._parse(given, index)
        except StorageError:
            raise  # not the item's fault
        except Exception as error:
            # What a list holds may be of any class, and so may do anything.
            reason = (
                error
                if isinstance(error, InvalidInput)
                else InvalidInput(f"audios: item {index} cannot be read: {type(error).__name__}.")
            )
            url = isinstance(given, str) and "://" in given
            source = escape(strip_url(given)) if url else f"item {index}"
            return self._invalid(_identity_of_invalid(given, index), source, reason, index=index)

    def _invalid(
        self,
        identity: str,
        source: str,
        error: InvalidInput,
        audio: str = "",
        index: int | None = None,
        version: str | None = None,
    ) -> Item:
        key = fingerprint_of(self._conn_id, identity, {})[:32]
        return Item(key, audio, {}, source, f"item-{key[:12]}", index, version, str(error))

    def _parse(self, given: Any, index: int) -> Item:
        config: Any = None
        source_id = None
        if isinstance(given, Mapping):
            config, source_id = given.get("config"), check_source_id(given.get("source_id"))
            if extra := set(given) - {"audio", "config", "source_id"}:
                names = ", ".join(sorted(map(shown, extra)))
                raise InvalidInput(f"audios: an item knows audio, config and source_id, not {names}.")
            given = given.get("audio")
        if not isinstance(given, str | PathLike | ObjectStoragePath) or not str(given).strip():
            raise InvalidInput(f"audios: item {index} has no audio.")
        merged = self._config if config is None else {**self._config, **transcripts.check_config(config)}
        return self._item(given, merged, index, source_id=source_id)

    def _item(
        self,
        given: object,
        config: Mapping[str, Any],
        index: int | None = None,
        version: str | None = None,
        source_id: str | None = None,
    ) -> Item:
        # In this thread: a store may have to ask Airflow for its connection.
        audio = check_address(given)
        self._tell_if_relative(given)
        address, former = identity_without_query(audio), None
        if is_url(audio):
            identity, source = canonical_url(audio), strip_url(audio)
            former = canonical_url_of_old_states(audio)
        else:
            identity = source = audio if "://" in audio else f"file://{audio}"
            source = strip_url(source) if "@" not in source else source
        name = output_name(audio)
        if source_id is not None:
            identity, name, address, former = f"id:{source_id}", file_name(source_id), None, None

        def key_of(identity: str) -> str:
            return fingerprint_of(self._conn_id, identity, config)[:32]

        key = key_of(identity)
        return Item(
            key,
            audio,
            config,
            source,
            f"{name}-{key[:12]}",
            index,
            version,
            source_id=source_id,
            address_fingerprint=None if address is None else key_of(address),
            former_key=None if former in (None, identity) else key_of(former),
        )

    def _tell_if_relative(self, given: object) -> None:
        text = str(given)
        if not self._has_told_of_relative and "://" not in text and not text.startswith("/"):
            self._has_told_of_relative = True
            log.info("audios: relative paths, such as %s, are taken as below %s.", text, Path.cwd())


def _may_be_of(item: Item, stored: Mapping[str, Any]) -> bool:
    """Return whether the job of a line, if it has one, is for the URL that the list holds now."""
    hashes = (stored.get("job_state") or {}).get("url_hashes")
    return not hashes or hash_of(item.audio) in hashes


def _identity_of_invalid(given: object, index: int) -> str:
    """Return what names an item that is none, also in another process."""
    try:
        return f"invalid:{json.dumps(given, sort_keys=True)}"
    except Exception:
        return f"invalid:item {index}"


def orphaned_item(entry: Mapping[str, Any]) -> Item:
    """Return the item of an open entry of the ledger whose recording is not in the list any more."""
    return Item(
        entry["key"],
        "",
        {},
        entry["source"],
        entry["name"],
        content_version=entry["content_version"],
        address_fingerprint=entry.get("address_fingerprint"),
        # So that it is still known for one when it is written again.
        former_key=None if "address_fingerprint" in entry else entry["key"],
    )


def spending_of(item: Item, prices: PriceList) -> Spent:
    """Return what an item costs that is to be submitted, as far as that is known."""
    if item.error is not None:
        return Spent()
    try:
        seconds = requested_duration(locate(item.audio), item.config) or 0.0
    except InvalidInput:
        return Spent()
    return Spent(seconds / 60, prices.request_cost(item.config, seconds) or 0.0)


def with_content_version(item: Item) -> Item:
    """Return an item with its content version, asking its store if that did not say so."""
    # What the user has named is the same recording, whatever is there today.
    if (
        item.content_version is not None
        or item.error is not None
        or item.source_id is not None
        or not item.audio
    ):
        return item
    return replace(item, content_version=find_content_version(item.audio))
