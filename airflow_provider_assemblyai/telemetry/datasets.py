# SPDX-License-Identifier: Apache-2.0
"""
What recordings, files and transcripts are called in lineage, and how many of them one event names.

https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple
from urllib.parse import urlsplit

#: Datasets of one side of an event: where there are more, the folders that they are in are named.
MAX_DATASETS: Final = 50

#: Other names of one store.
_SAME_STORE: Final = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "local": "file"}
#: Stores whose names may hold what begins the fragment of a URL.
_STORES: Final = ("s3", "gs", "abfs", "abfss", "az", "adl", "wasb", "wasbs", "oss", "hdfs")
#: Of these, what is before the @ may be the container, where a host of Azure follows; else it is a connection.
_AZURE: Final = ("abfs", "abfss", "wasb", "wasbs")
_TRANSCRIPTS: Final = "assemblyai"


class DatasetName(NamedTuple):
    """
    The two names of a dataset.

    :param namespace: where it is, such as ``s3://bucket``, ``https://host`` or ``file``.
    :param name: what it is called there.
    """

    namespace: str
    name: str

    @property
    def address(self) -> str:
        """What leads to it, without a query and without what opens it."""
        if self.namespace == "file":
            return f"file://{self.name}"
        return f"{self.namespace}{'' if '://' in self.namespace else ':/'}/{self.name.lstrip('/')}"


def transcript_address(transcript_id: str) -> str:
    """Return the address by which lineage knows a transcript at the service; its id is the only one in all regions."""
    return f"{_TRANSCRIPTS}://transcript/{transcript_id}"


def dataset_of(address: str) -> DatasetName | None:
    """
    Return the names of what is at an address; None if it is no address.

    :param address: an absolute path or a URL. Of a URL only scheme, host and path count, never what opens it.
    """
    scheme, separator, rest = address.partition("://")
    scheme = _SAME_STORE.get(scheme.lower(), scheme.lower())
    if not separator or scheme == "file":
        path = rest if separator else address
        return DatasetName("file", path.rstrip("/") or "/") if path.startswith("/") else None
    if scheme == _TRANSCRIPTS:
        return DatasetName(scheme, rest)
    url = f"{scheme}://{rest.partition('?')[0]}"
    try:
        parts = urlsplit(url, allow_fragments=scheme not in _STORES)
        _ = parts.port  # raises for what is no port, such as a part of a password
    except ValueError:
        return None
    user, _, host = parts.netloc.rpartition("@")
    if not host:
        return None
    container = f"{user}@" if scheme in _AZURE and user and "." in host else ""
    place = host if scheme in _STORES else host.lower()
    return DatasetName(f"{scheme}://{container}{place}", parts.path.removeprefix("/").rstrip("/") or "/")


class DatasetCounter:
    """
    Counts datasets, and names at most so many: of more, the folders, as far down as the limit allows.

    What it holds does not grow with what is counted.

    :param most: how many may be named.
    """

    def __init__(self, most: int = MAX_DATASETS) -> None:
        self._most = most
        self._counts: Counter[DatasetName] = Counter()
        #: Folders of a name that are kept; None keeps it whole.
        self._depth: int | None = None

    def add(self, address: str) -> None:
        """Count what is at an address; what is none is left out."""
        if (found := dataset_of(address)) is not None:
            self._counts[self._shortened(found)] += 1
            while len(self._counts) > self._most:
                self._shorten()

    def counted(self) -> list[tuple[DatasetName, int | None]]:
        """Return what is named, each with the number of datasets below it; None if it is a dataset itself."""
        return [(name, None if self._depth is None else count) for name, count in self._counts.items()]

    def _shorten(self) -> None:
        deepest = max(len(_parts(one)) for one in self._counts)
        if deepest == 0:
            self._counts.popitem()  # more hosts and buckets than may be named
            return
        self._depth = deepest - 1
        counts, self._counts = self._counts, Counter()
        for name, count in counts.items():
            self._counts[self._shortened(name)] += count

    def _shortened(self, dataset: DatasetName) -> DatasetName:
        if self._depth is None or len(parts := _parts(dataset)) <= self._depth:
            return dataset
        root = "/" if dataset.namespace == "file" else ""
        return dataset._replace(name=root + "/".join(parts[: self._depth]) or "/")


def _parts(dataset: DatasetName) -> list[str]:
    return [part for part in dataset.name.split("/") if part]
