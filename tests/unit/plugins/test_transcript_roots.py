# SPDX-License-Identifier: Apache-2.0
"""Which files the page may show. Who writes a DAG can have a task record anything, and make files and links."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StorageError
from airflow_provider_assemblyai.plugins.transcript_roots import (
    Place,
    Root,
    find_place,
    read_lines,
    read_place,
    roots,
)
from tests.support.processes import until
from tests.support.stores import Store, attached

WORDS = b'{"text": "our words"}'
SECRET = b'{"text": "not for this page"}'
SETTING = "AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a deployment, with a file in it, and secrets all around."""
    root = tmp_path / "transcripts"
    (root / "calls").mkdir(parents=True)
    (root / "calls" / "one.json").write_bytes(WORDS)
    (tmp_path / "transcripts-secret").mkdir()
    for secret in (tmp_path / "secret.json", tmp_path / "transcripts-secret" / "one.json"):
        secret.write_bytes(SECRET)
    monkeypatch.setenv(SETTING, str(root))
    return root


def read(uri: object, dag_id: str = "calls") -> bytes:
    return read_place(find_place(uri, roots(dag_id)), 1 << 20)


@pytest.mark.parametrize("scheme", ["", "file://", "FILE://", "local://"])
def test_what_is_below_a_root_is_read(root: Path, scheme: str) -> None:
    assert read(f"{scheme}{root}/calls/one.json") == WORDS


@pytest.mark.parametrize(
    "written",
    [
        "{root}/calls/../../secret.json",
        "{root}/../secret.json",
        "{root}/calls/..",
        "{root}/calls/./one.json",
        "{root}//calls/one.json",
        "{root}/calls//one.json",
        "{root}/calls/one.json/",
        "{root}/calls/one.json/.",
        "{root}/",
        "{root}",
        "/{root}/calls/one.json",
        "//{root}/calls/one.json",
        "{root}-secret/one.json",
        "{root}/calls/%2e%2e/%2e%2e/secret.json",
        "{root}/calls/..%2f..%2fsecret.json",
        "{root}%2fcalls%2fone.json",
        "{root}/calls/..\\..\\secret.json",
        "{root}\\calls\\one.json",
        "{root}/calls/one.json\0",
        "{root}/calls\0/../../secret.json",
        "{root}/calls/one.json\n",
        "{root}/calls/one.json?versionId=1",
        "{root}/calls/one.json#1",
        "{root}/calls/\N{TWO DOT LEADER}/one.json",
        "{root}/calls/\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/one.json",
        "{root}/calls\N{FULLWIDTH SOLIDUS}one.json",
        "{root}/calls/\N{FULLWIDTH REVERSE SOLIDUS}one.json",
        "{root}/calls/\ud800.json",
        "{root}/" + "a/" * 5000 + "one.json",
        "file://host{root}/calls/one.json",
        "file:{root}/calls/one.json",
        "file:/{root}/calls/one.json",
        " {root}/calls/one.json",
        "~{root}/calls/one.json",
        "calls/one.json",
        "./calls/one.json",
        "s3://{root}/calls/one.json",
        "http://127.0.0.1:9{root}/calls/one.json",
        "https://127.0.0.1:9{root}/calls/one.json",
        "memory://{root}/calls/one.json",
        "simplecache::file://{root}/calls/one.json",
        "zip://one.json::file://{root}/calls/one.json",
        "data://text/plain,{root}",
        "://{root}/calls/one.json",
        "/etc/passwd",
        "/proc/self/environ",
        "file:///etc/passwd",
    ],
)
def test_another_way_to_write_it_is_refused(root: Path, written: str) -> None:
    with pytest.raises(InvalidInput, match="below none of the transcript_roots"):
        read(written.replace("{root}", str(root)))


@pytest.mark.parametrize(
    "value", [None, "", 7, True, [], ["/etc/passwd"], {"json": "/etc/passwd"}, b"/etc/passwd"]
)
def test_what_is_no_text_names_no_file(root: Path, value: object) -> None:
    with pytest.raises(InvalidInput, match="recorded no such file"):
        read(value)


def test_a_name_that_is_too_long_is_not_there(root: Path) -> None:
    with pytest.raises(InvalidInput, match="not there"):
        read(f"{root}/calls/{'a' * 300}.json")


def test_what_is_not_there(root: Path) -> None:
    for name in ("calls/two.json", "others/one.json"):
        with pytest.raises(InvalidInput, match=r"The file is not there\."):
            read(f"{root}/{name}")


PIECES = st.sampled_from(
    [
        *("..", ".", "a", "b", "out", "link", "loop", "one.json", "up.json", "secret.json", "%2e%2e"),
        *("..\\", "\\..", "..;", "..%00", "~", "*", "a:b", "?", "#", "@", "::", "file:", "..."),
        *("", "\0", "\N{TWO DOT LEADER}", "\N{ONE DOT LEADER}"),
    ]
)
BEGINS = st.sampled_from(
    [
        *("{root}/", "{root}", "file://{root}/", "local://{root}/", "file://x{root}/", "{root}/a/"),
        *("{outside}/", "/", "file://", "//{root}/"),
        *("s3://{root}/", "zip://a::{root}/", "simplecache::{root}/", ""),
    ]
)


@settings(deadline=None, database=None, derandomize=True, max_examples=2000)
@given(begin=BEGINS, parts=st.lists(PIECES | st.text(max_size=3), max_size=6))
def test_whatever_is_recorded_nothing_of_outside_is_read(
    odd_folders: tuple[Path, Path], begin: str, parts: list[str]
) -> None:
    root, outside = odd_folders
    uri = begin.replace("{root}", str(root)).replace("{outside}", str(outside)) + "/".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, str(root))
        try:
            content = read(uri)
        except (InvalidInput, StorageError):
            return
    assert content == WORDS
    assert os.path.realpath(uri.partition("://")[2] or uri).startswith(f"{os.path.realpath(root)}/")


@pytest.fixture(scope="module")
def odd_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A root with all kinds of ways out, and what is outside."""
    outside = tmp_path_factory.mktemp("outside")
    root = outside / "root"
    (root / "a" / "b").mkdir(parents=True)
    for name in ("secret.json", "one.json"):
        (outside / name).write_bytes(SECRET)
    for folder in (root, root / "a", root / "a" / "b"):
        (folder / "one.json").write_bytes(WORDS)
        (folder / "out").symlink_to(outside)
        (folder / "up.json").symlink_to(outside / "secret.json")
        (folder / "loop").symlink_to(folder)
        os.link(outside / "secret.json", folder / "link")
    return root, outside


# Links and other files that are none


def test_links_below_a_root_are_not_followed(root: Path) -> None:
    secret = root.parent / "secret.json"
    (root / "file.json").symlink_to(secret)
    (root / "relative.json").symlink_to("../secret.json")
    (root / "folder").symlink_to(root.parent)
    # Not even those that stay below it: where they lead can change.
    (root / "inner.json").symlink_to(root / "calls" / "one.json")
    (root / "inner").symlink_to(root / "calls")
    (root / "loop.json").symlink_to(root / "loop.json")
    (root / "nowhere.json").symlink_to("/nonexistent")
    names = ("file.json", "relative.json", "folder/secret.json", "inner.json", "inner/one.json", "loop.json")
    for name in (*names, "nowhere.json", "folder/transcripts/calls/one.json"):
        with pytest.raises(InvalidInput, match="reached by a link"):
            read(f"{root}/{name}")
    assert read(f"{root}/calls/one.json") == WORDS


def test_a_second_name_of_a_file_is_not_read(root: Path) -> None:
    os.link(root.parent / "secret.json", root / "hard.json")
    with pytest.raises(InvalidInput, match="has another name"):
        read(f"{root}/hard.json")


def test_the_root_itself_may_be_a_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alias := root.parent / "alias").symlink_to(root)
    monkeypatch.setenv(SETTING, f"{alias} {alias}/calls")
    assert read(f"{alias}/calls/one.json") == WORDS
    # The task has to record it by the name that the deployment uses.
    with pytest.raises(InvalidInput, match="below none"):
        read(f"{root}/calls/one.json")


def test_the_folder_of_a_dag_may_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks write there, so the author of a DAG can put a link in the place of it."""
    monkeypatch.setenv(SETTING, f"{root}/{{dag_id}}")
    assert read(f"{root}/calls/one.json", "calls") == WORDS
    (root / "thief").symlink_to(root / "calls")
    (root / "spy").symlink_to(root.parent)
    for uri, dag_id in ((f"{root}/thief/one.json", "thief"), (f"{root}/spy/secret.json", "spy")):
        with pytest.raises(InvalidInput, match="reached by a link"):
            read(uri, dag_id)


def test_what_is_no_file_is_refused_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe.json")
    (root / "null.json").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(root)  # the name of a socket is short
        listener.bind("socket.json")
        for name in ("pipe.json", "null.json"):
            with pytest.raises(InvalidInput, match="no file"):
                read(f"{root}/{name}")
        with pytest.raises(StorageError):
            read(f"{root}/socket.json")


def test_a_device_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "/dev")
    for name in ("zero", "null"):
        with pytest.raises(InvalidInput, match="no file"):
            read(f"/dev/{name}")


def test_a_folder_that_is_exchanged_while_it_is_read(root: Path) -> None:
    """Between a look at a path and its opening it can become another one."""
    (root / "real").mkdir()
    (root / "real" / "one.json").write_bytes(WORDS)
    (root.parent / "trap").mkdir()
    (root.parent / "trap" / "one.json").write_bytes(SECRET)
    (root / "bait").symlink_to(root.parent / "trap")
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            for one, other in (
                ("real", "calls-now"),
                ("bait", "real"),
                ("real", "bait"),
                ("calls-now", "real"),
            ):
                (root / one).rename(root / other)

    exchanger = threading.Thread(target=exchange)
    exchanger.start()
    outcomes: set[object] = set()

    def seen() -> bool:
        try:
            outcomes.add(read(f"{root}/real/one.json"))
        except InvalidInput as refused:
            outcomes.add("link" if "link" in str(refused) else "not there")
        assert SECRET not in outcomes
        return outcomes >= {WORDS, "link"}

    try:
        until(seen, what="both states of the folder", interval=0)
        for _ in range(2000):
            seen()
    finally:
        ended.set()
        exchanger.join()


def test_what_may_not_be_read_is_told_without_names(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The account of the API server, the folders of the deployment and the reasons of a store are not the viewer's."""

    class Refusing(Store):
        def _open(self, path: str, *args: object, **kwargs: object) -> object:
            raise PermissionError(
                "arn:aws:iam::123456789012:user/airflow may not GetObject on internal-bucket"
            )

    begin = attached(Refusing())
    monkeypatch.setenv(SETTING, f"{begin}bucket/calls")
    caplog.set_level(logging.WARNING)
    with pytest.raises(StorageError) as caught:
        read("memory://bucket/calls/one.json")
    assert str(caught.value) == "The API server cannot read the file. Its log says why."
    assert "GetObject" in caplog.text
    assert caught.value.__suppress_context__


def test_a_connection_that_is_missing_is_told_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "s3://no_such_connection@bucket/calls")
    with pytest.raises(StorageError) as caught:
        read("s3://bucket/calls/one.json")
    assert "no_such_connection" not in str(caught.value)


# Sizes


def test_a_file_that_is_too_large(root: Path) -> None:
    (root / "large.json").write_bytes(b"x" * 11)
    place = find_place(f"{root}/large.json", roots("calls"))
    assert read_place(place, 11) == b"x" * 11
    with pytest.raises(InvalidInput, match="more than"):
        read_place(place, 10)


@pytest.mark.parametrize(
    ("content", "most", "lines"),
    [
        (b"", 10, []),
        (b"one\ntwo\n", 100, [b"one", b"two"]),
        (b"one\ntwo", 100, [b"one", b"two"]),
        (b"one\ntwo", 7, [b"one", b"two"]),
        (b"one\ntwo\n", 6, [b"one"]),
        (b"one\ntwo\n", 7, [b"one"]),
        (b"one\n" * 400_000, 1 << 30, [b"one"] * 400_000),
        (b"x" * (3 << 20) + b"\ny\n", 1 << 30, [b"x" * (3 << 20), b"y"]),
        (b"x" * (3 << 20), 2 << 20, []),
    ],
)
@pytest.mark.parametrize("kind", ["local", "store"])
def test_lines(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes, most: int, lines: list[bytes]
) -> None:
    if kind == "store":
        fs = Store()
        fs.pipe_file("/bucket/calls/lines", content)
        monkeypatch.setenv(SETTING, f"{attached(fs)}bucket/calls")
        place = find_place("memory://bucket/calls/lines", roots("calls"))
    else:
        (root / "lines").write_bytes(content)
        place = find_place(f"{root}/lines", roots("calls"))
    # A last line that may be cut off counts as one only at the end of the file.
    found = list(read_lines(place, most))
    assert found == lines


# Object stores


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store]:
    """The store of the deployment, and another one that authors of DAGs can name."""
    ours, theirs = Store(), Store()
    for fs in (ours, theirs):
        fs.store = {}
    ours.pipe_file("/bucket/calls/one.json", WORDS)
    for path in ("/bucket/calls-secret/one.json", "/bucket/secret.json", "/other/calls/one.json"):
        ours.pipe_file(path, SECRET)
    theirs.pipe_file("/bucket/calls/one.json", SECRET)
    monkeypatch.setenv(SETTING, f"{attached(ours)}bucket/calls/")
    attach("memory", conn_id="theirs", fs=theirs)
    return ours, theirs


@pytest.mark.parametrize("place", ["", "theirs@", "a@b@", "theirs:password@", "@"])
def test_the_connection_is_the_roots(store: tuple[Store, Store], place: str) -> None:
    assert read(f"memory://{place}bucket/calls/one.json") == WORDS


@pytest.mark.parametrize(
    "uri",
    [
        "memory://bucket/calls-secret/one.json",
        "memory://bucket/calls/../secret.json",
        "memory://bucket/calls//one.json",
        "memory:///bucket/calls/one.json",
        "memory://bucket/callsone.json",
        "memory://bucket/secret.json",
        "memory://other/calls/one.json",
        "memory://bucket@other/calls/one.json",
        "memory://BUCKET/calls/one.json",
        "/bucket/calls/one.json",
        "file:///bucket/calls/one.json",
        "s3://bucket/calls/one.json",
        "s3a://bucket/calls/one.json",
        "memory::memory://bucket/calls/one.json",
        "memory:bucket/calls/one.json",
        "http://bucket/calls/one.json",
    ],
)
def test_another_bucket_prefix_or_scheme_is_refused(store: tuple[Store, Store], uri: str) -> None:
    with pytest.raises(InvalidInput, match="below none"):
        read(uri)


def test_an_object_that_is_newer_than_the_last_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Caching(Store):
        """A store that remembers what was not there."""

        missing: set[str] = set()  # noqa: RUF012

        def _open(self, path: str, mode: str = "rb", **kwargs: object) -> object:
            if mode == "rb" and path in self.missing:
                raise FileNotFoundError(path)
            self.missing.add(path)
            return super()._open(path, mode, **kwargs)

        def invalidate_cache(self, path: str | None = None) -> None:
            self.missing.clear()

    fs = Caching()
    fs.store = {}
    monkeypatch.setenv(SETTING, f"{attached(fs)}bucket/calls")
    with pytest.raises(InvalidInput, match="not there"):
        read("memory://bucket/calls/two.json")
    fs.pipe_file("/bucket/calls/two.json", WORDS)
    assert read("memory://bucket/calls/two.json") == WORDS


# The setting


@pytest.mark.parametrize("setting", ["", " ", ",", "\n"])
def test_without_roots_nothing_is_read(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(SETTING, setting)
    assert roots("calls") == []
    with pytest.raises(InvalidInput, match="names no transcript_roots"):
        read("/etc/passwd")


@pytest.mark.parametrize(
    "wrong",
    [
        *("/", "//", "file:///", "file://", "relative", "./relative", "../x", "file://host/x"),
        *("file:/x", "/a/../b", "/a/./b", "/a//b", "/a\\b"),
        *("/a/%2e%2e", "s3://", "s3:///x", "s3://conn@", "s3://b//x", "s3://b/..", "http://host/x"),
        *("https://host/x", "zip://a::/b"),
        *("simplecache::s3://b", "://x", "1://x", "s3://{dag_id}@b/x"),
    ],
)
def test_a_root_that_can_be_read_in_two_ways_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    monkeypatch.setenv(SETTING, f"{wrong} /good/{{dag_id}}")
    assert [root.address for root in roots("calls")] == ["/good/calls"]
    assert "transcript_roots" in caplog.text
    assert "is left out" in caplog.text


def test_a_root_for_each_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        SETTING, "s3://conn@b/x/{dag_id},/data/{dag_id}-files/y\n/shared/ file:///more s3://{dag_id}-b/x"
    )
    assert [root.address for root in roots("calls")] == [
        *("s3://conn@b/x/calls", "/data/calls-files/y", "/shared", "/more", "s3://calls-b/x")
    ]
    place = find_place("file:///data/calls-files/y/z/one.json", roots("calls"))
    assert place == Place(Root("file", "", ("data",), ("calls-files", "y")), ("z", "one.json"))
    for uri in ("/data/others-files/y/one.json", "s3://b/x/others/one.json", "s3://b/x/calls2/one.json"):
        with pytest.raises(InvalidInput, match="below none"):
            find_place(uri, roots("calls"))


@pytest.mark.parametrize(
    "dag_id", [".", "..", "...", "", "a/b", "../b", "a b", "a%2fb", "a\0", "a\n", "~", "{dag_id}", "a@b"]
)
def test_an_id_that_is_no_part_of_a_path_has_no_root_of_its_own(
    monkeypatch: pytest.MonkeyPatch, dag_id: str
) -> None:
    monkeypatch.setenv(SETTING, "/data/{dag_id} /shared s3://b/{dag_id}")
    assert [root.address for root in roots(dag_id)] == ["/shared"]


@given(dag_id=st.text(max_size=8))
@settings(deadline=None, database=None, derandomize=True, max_examples=500)
def test_no_id_leads_to_the_root_of_another(dag_id: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, "/data/{dag_id}")
        for root in roots(dag_id):
            assert root.parts == ("data", dag_id)
            if dag_id != "calls":
                with pytest.raises(AssemblyAIError):
                    find_place("/data/calls/one.json", [root])
