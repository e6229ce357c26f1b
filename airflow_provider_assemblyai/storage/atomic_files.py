# SPDX-License-Identifier: Apache-2.0
"""Paths of any store that Airflow knows, and the files that are written there."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeGuard
from urllib.parse import unquote

from airflow.providers.common.compat.sdk import AirflowNotFoundException, ObjectStoragePath
from fsspec import AbstractFileSystem

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.api.sanitize import abridge, sanitize
from airflow_provider_assemblyai.api.validation import SHOWN_PATH, shown

#: Where a directory exists by itself; making one there could make a bucket.
_OBJECT_STORES: Final = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs", "oss"}
_PROVIDERS: Final = {
    "s3": "apache-airflow-providers-amazon[s3fs]",
    "s3a": "apache-airflow-providers-amazon[s3fs]",
    "gs": "apache-airflow-providers-google",
    "gcs": "apache-airflow-providers-google",
    "abfs": "apache-airflow-providers-microsoft-azure",
    "abfss": "apache-airflow-providers-microsoft-azure",
}


#: Bytes that a file system gives to one name, and that a path, and the key of an object, may have.
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4096
_MAX_KEY: Final = 1024
#: Bytes of what results are named after: the longest ending, with a map index and a digest, has 54.
MAX_STEM: Final = 200
_LOCAL: Final = ("", "file", "local")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_BUCKET: Final = re.compile(r"[\w.:$-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: JSON may hold them, and programs that read a file line by line end a line there.
_LINE_BREAKS: Final = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
#: What the operating system answers to a name that cannot be one. It would answer the same to a retry.
_BAD_NAME: Final = (errno.EINVAL, errno.EILSEQ, errno.ELOOP)
#: What templates give that render to nothing.
_NOTHING: Final = ("", "None", "none")

log = logging.getLogger(__name__)


def output_name(audio: object) -> str:
    """Return the name of the results of ``audio``, without extension; the audio need not exist any more."""
    text = str(audio)
    if text.lower().startswith(("http://", "https://")):
        text = re.split("[?#]", text.partition("://")[2])[0].partition("/")[2]
    return file_name(Path(unquote(text).rstrip("/").rpartition("/")[2]).stem)


def file_name(text: str) -> str:
    """Return ``text`` as the name of files, without extension: short enough for every store, and of safe characters."""
    stem = re.sub(r"[^\w.-]+", "_", text).strip("._")[:100]
    return stem.encode()[:MAX_STEM].decode(errors="ignore") or "audio"


def as_json(value: object) -> str:
    """Return JSON for a file. It can be encoded, whatever the texts in it hold."""
    # No indentation: with it Python encodes in Python, and a day of words takes seconds.
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character: only an escape sequence can hold it
        return json.dumps(value)
    for character, escaped in _LINE_BREAKS:
        text = text.replace(character, escaped)
    return text


def check_path_text(value: object, name: str, kind: str = "a path", max_size: int = _MAX_PATH) -> str:
    """
    Return what names a file or a recording, if it can be such a name.

    :param value: text, or a path object.
    :param name: the argument it came from, for messages.
    :param kind: what it must be, for messages.
    :param max_size: bytes that it may have.
    :raises InvalidInput: it is no text, or one that could only be read as another one.
    """
    value = _text_of(value)
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name} must be {kind}, not {shown(value, SHOWN_PATH)}.{_hint(value)}")
    if _CONTROL.search(value):
        raise InvalidInput(
            f"{name}: {shown(value, SHOWN_PATH)} holds a line break or another control character: what it names cannot be read "
            "safely. Rename it."
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"{name}: {shown(value, SHOWN_PATH)} is not UTF-8. Rename it.") from None
    if size > max_size:
        raise InvalidInput(
            f"{name} has {size} bytes, more than the {max_size} that are possible: {shown(value, SHOWN_PATH)}."
        )
    return value


def open_path(value: object, name: str, *, resolve: bool = False) -> ObjectStoragePath:
    """
    Return ``value`` as a path whose filesystem is installed.

    :param value: an absolute local path, a URI or an ``ObjectStoragePath``.
    :param name: the argument it came from, for messages.
    :param resolve: take a relative path as well, as one below the working directory.
    :raises InvalidInput: for another type, an unknown scheme, or what cannot be a path.
    :raises StorageError: Airflow could not be asked for the connection of the store; a retry helps.
    """
    text = check_path_text(value, name)
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower() if separator else ""
    if separator and not _SCHEME.fullmatch(scheme):
        raise InvalidInput(
            f"{name}: {shown(text, SHOWN_PATH)} is no path and no URI: what is before :// is no scheme."
        )
    if scheme not in _LOCAL:
        _check_place(name, scheme, text, rest)
    elif separator and not rest.startswith("/"):
        raise InvalidInput(
            f"{name}: {shown(text, SHOWN_PATH)}: what follows {scheme}:// must be an absolute path."
        )
    else:
        # One spelling of one file: names of files and keys of items are made of it.
        text = (
            ("file" if scheme else "")
            + separator
            + _absolute(rest if separator else text, name, resolve=resolve)
        )
    try:
        if isinstance(value, ObjectStoragePath) and scheme not in _LOCAL:
            path = value
        else:
            path = ObjectStoragePath(text)
        path.fs  # noqa: B018 - resolving it is the check
    except (ValueError, ImportError) as error:
        hint = _PROVIDERS.get(scheme)
        advice = f"install {hint}" if hint else "check the scheme, or install the provider of that store"
        raise InvalidInput(
            f"{name}: there is no filesystem for {scheme or 'this path'}:// here ({sanitize(str(error))}): {advice}."
        ) from None
    except AirflowNotFoundException as error:
        raise InvalidInput(f"{name}: {shown(text, SHOWN_PATH)}: {sanitize(str(error))}.") from error
    except Exception as error:
        raise StorageError(
            f"{name}: {shown(text, SHOWN_PATH)}: {type(error).__name__}: {sanitize(str(error))}."
        ) from error
    _check_read_as_written(name, text, path)
    return path


def _text_of(value: object) -> object:
    """Return the text of a path object, and anything else as it is."""
    if not isinstance(value, os.PathLike | ObjectStoragePath):
        return value
    try:
        return str(value) if isinstance(value, ObjectStoragePath) else os.fspath(value)
    except Exception:  # a class of the user's may do anything
        return value


def _check_place(name: str, scheme: str, text: str, rest: str) -> None:
    place, _, key = rest.partition("/")
    bucket = place.rpartition("@")[2]
    # A path object of the text "s3://" has made a bucket of the scheme.
    if scheme in _OBJECT_STORES and (not _BUCKET.fullmatch(bucket) or bucket == f"{scheme}:"):
        raise InvalidInput(f"{name}: {shown(text, SHOWN_PATH)} names no bucket.")
    if scheme in _OBJECT_STORES and len(key.encode()) > _MAX_KEY:
        raise InvalidInput(
            f"{name}: {shown(text, SHOWN_PATH)}: no object has a key of more than {_MAX_KEY} bytes."
        )


def _check_read_as_written(name: str, text: str, path: ObjectStoragePath) -> None:
    """Return if a path leads to what its text names: some stores take a part of a name for a query, and read another file."""
    scheme, separator, rest = text.partition("://")
    key = rest.partition("/")[2] if separator else text
    read = path.path
    if scheme.lower() in _OBJECT_STORES and hasattr(path.fs, "split_path"):
        read = path.fs.split_path(read)[1]
    if not str(read).rstrip("/").endswith(key.strip("/")):
        raise InvalidInput(
            f"{name}: {shown(key, SHOWN_PATH)} would be read as another name: what follows ? or # at its end is taken for "
            "a query, or for a version, and dropped. Rename it, or copy that version."
        )


def _absolute(text: str, name: str, *, resolve: bool) -> str:
    if not text.startswith("/") and not resolve:
        raise InvalidInput(
            f"{name} must be an absolute path or a URI, not {shown(text, SHOWN_PATH)}: each worker has another working directory."
            + _hint(text)
        )
    try:
        # Links are not followed. Two slashes at the begin would be read as a host.
        return re.sub("^/+", "/", os.path.abspath(text))  # noqa: PTH100
    except OSError as error:
        raise InvalidInput(
            f"{name}: {shown(text, SHOWN_PATH)} is relative, and there is no working directory."
        ) from error


def _hint(value: object) -> str:
    empty = value is None or (isinstance(value, str) and value.strip() in _NOTHING)
    return " A template may have rendered to nothing." if empty else ""


@contextmanager
def store_errors(name: str, shown: str) -> Iterator[None]:
    """Turn what filesystems raise into errors of ours that name the argument."""
    shown = abridge(shown)
    try:
        yield
    except AssemblyAIError:
        raise
    except FileNotFoundError as error:
        raise InvalidInput(f"{name}: {shown} does not exist.") from error
    except PermissionError as error:
        raise InvalidInput(f"{name}: no permission for {shown}.") from error
    except (NotADirectoryError, IsADirectoryError, FileExistsError, UnicodeEncodeError) as error:
        raise InvalidInput(f"{name}: {shown}: {sanitize(str(error))}.") from error
    except Exception as error:
        if _is_bad_name(error):
            raise InvalidInput(f"{name}: {shown}: {os.strerror(error.errno or 0)}.") from error
        raise StorageError(f"{name}: {shown}: {type(error).__name__}: {sanitize(str(error))}.") from error


def _is_bad_name(error: Exception) -> TypeGuard[OSError]:
    # Stores use the other numbers for more, some of which passes; the operating system names the file.
    return isinstance(error, OSError) and (
        error.errno == errno.ENAMETOOLONG or (error.errno in _BAD_NAME and error.filename is not None)
    )


@dataclass(frozen=True)
class OutputFiles:
    """
    Where the files of one transcript go.

    :param prefix: a directory, or a prefix in an object store.
    :param name: what the files are named, without extension.
    """

    prefix: ObjectStoragePath
    name: str

    @classmethod
    def at(cls, output_path: object, name: str, map_index: int | None = None) -> OutputFiles:
        """
        Name the files so that a retry finds the same names.

        :param output_path: the user's argument.
        :param name: usually the audio's stem, from :func:`output_name`.
        :param map_index: kept in the names of mapped tasks, whose audio may have equal stems.
        :raises InvalidInput: one of the two cannot be.
        """
        name = check_path_text(name, "name", "a name")
        name = name if map_index is None or map_index < 0 else f"{name}-{map_index}"
        return cls(open_path(output_path, "output_path"), name)

    def uri(self, suffix: str) -> str:
        """Return the address of one file: ``<prefix>/<name>.<suffix>``."""
        return _uri(self.path(suffix))

    def check_writable(self, *suffixes: str) -> None:
        """
        Write and remove a small file.

        :param suffixes: of the files that are to be written.
        :raises InvalidInput: no permission, no such place, or a name that is too long.
        :raises StorageError: the store could not be asked; a retry helps.
        """
        for suffix in suffixes:
            self.path(suffix)
        probe = self.prefix / f".{uuid.uuid4().hex}.write-check"
        with store_errors("output_path", _uri(self.prefix)):
            _write(probe, (b"",))
            probe.fs.rm(probe.path)

    def write(self, suffix: str, content: str | Iterable[bytes]) -> str:
        """
        Write one file, whole or not at all, and return its address.

        :param suffix: its extension.
        :param content: text, or blocks of bytes.
        """
        return write_file(self.path(suffix), content)

    def path(self, suffix: str) -> ObjectStoragePath:
        """
        Return the place of one file.

        :raises InvalidInput: its name is too long.
        """
        name = f"{self.name}.{suffix}"
        if (size := len(name.encode())) > _MAX_NAME:
            raise InvalidInput(
                f"The file name {shown(name, SHOWN_PATH)} has {size} bytes, and {_MAX_NAME} are possible."
            )
        path = self.prefix / name
        _check_read_as_written("name", str(path), path)
        return path


def write_file(path: ObjectStoragePath, content: str | Iterable[bytes]) -> str:
    """Write a file below the output path, whole or not at all, and return its address."""
    with store_errors("output_path", _uri(path)):
        # Half a character cannot be written; it must not lose the rest, which is paid for.
        _write(path, (content.encode(errors="backslashreplace"),) if isinstance(content, str) else content)
    return _uri(path)


def create_file(path: ObjectStoragePath, content: str) -> bool:
    """
    Write a file below the output path, unless it is there.

    Of several processes that do so at the same moment one succeeds, where the store can tell; see the warning that is
    logged where it cannot.

    :return: whether it was written. If not, another process has, or an attempt of this one whose answer was lost.
    """
    data = content.encode(errors="backslashreplace")
    with store_errors("output_path", _uri(path)):
        if path.protocol in _LOCAL:
            return _create_local(Path(path.path), data)
        path.fs.invalidate_cache()
        _make_folder(path)
        if can_create(path.parent):
            try:
                path.fs.pipe_file(path.path, data, mode="create")
            except FileExistsError:
                return False
            return True
        if path.fs.exists(path.path):
            return False
        _write(path, (data,))
        return True


def read_bytes(path: ObjectStoragePath) -> bytes | None:
    """Return the content of a file below the output path, or None if it is not there."""
    with store_errors("output_path", _uri(path)):
        path.fs.invalidate_cache()  # another process may have written it
        try:
            # In one request: s3fs fails for an opened file that another process replaces before it is read.
            return bytes(path.fs.cat_file(path.path))
        except FileNotFoundError:
            return None


def read_file(path: ObjectStoragePath) -> str | None:
    """Return the text of a file below the output path, or None if it is not there."""
    content = read_bytes(path)
    with store_errors("output_path", _uri(path)):
        return None if content is None else content.decode()


def _uri(path: ObjectStoragePath) -> str:
    text = str(path)
    return text if "://" in text else f"file://{text}"


def _write(path: ObjectStoragePath, blocks: Iterable[bytes]) -> None:
    if path.protocol in _LOCAL:
        target = Path(path.path)
        with _partial_file(target, blocks) as partial:
            partial.replace(target)
        return
    _make_folder(path)
    with path.fs.open(path.path, "wb") as file:
        for block in blocks:
            file.write(block)


def _make_folder(path: ObjectStoragePath) -> None:
    if path.protocol not in _OBJECT_STORES:
        path.fs.makedirs(path.fs._parent(path.path), exist_ok=True)


@contextmanager
def _partial_file(target: Path, blocks: Iterable[bytes]) -> Iterator[Path]:
    """Write a file beside its target: a reader must never see half of it, and the service's copy may be deleted next."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A short name of its own, because that of the target may be as long as a name can be; its ending tells what it is.
    partial = target.with_name(f".{uuid.uuid4().hex[:16]}{target.suffix[:16]}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _create_local(target: Path, data: bytes) -> bool:
    try:
        with _partial_file(target, (data,)) as partial:
            try:
                os.link(partial, target)
            except FileExistsError:
                raise
            except OSError:  # no links on this file system
                descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
    except FileExistsError:
        if target.parent.is_dir():
            return False
        raise
    return True


#: Folder -> whether its store refuses to create what is there. Asked once in a process for all of an output path.
_creating: dict[str, bool] = {}
_creating_lock = threading.Lock()


def can_create(folder: ObjectStoragePath) -> bool:
    """Return whether the store of a folder creates a file only if it is not there: tried, because some only say so."""
    if folder.protocol in _LOCAL:
        return True
    where = str(folder).partition("/.assemblyai")[0]
    with _creating_lock:
        if (known := _creating.get(where)) is not None:
            return known
        with store_errors("output_path", _uri(folder)):
            able = _creating[where] = _creates_once(folder)
    if not able:
        log.warning(
            "The store of %s cannot create a file only if it is not there. Tasks that begin at the same moment may submit "
            "one recording twice, or take one name for two recordings and overwrite each other's files.",
            where,
        )
    return able


def _creates_once(folder: ObjectStoragePath) -> bool:
    fs, probe = folder.fs, (folder / f".{uuid.uuid4().hex}.write-check").path
    if getattr(fs.pipe_file, "__func__", None) is AbstractFileSystem.pipe_file:
        return False  # it looks first and writes then
    _make_folder(folder / "probe")
    try:
        fs.pipe_file(probe, b"1", mode="create")
        fs.pipe_file(probe, b"2", mode="create")
    except FileExistsError:
        return True
    except OSError:
        raise
    except Exception:
        return False  # it knows no such mode
    else:
        return False
    finally:
        with suppress(Exception):
            fs.rm_file(probe)
