# SPDX-License-Identifier: Apache-2.0
"""What a finished transcript becomes: a small summary for XCom, and files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final, Literal, TypedDict, TypeVar, get_args

from airflow_provider_assemblyai.api import transcript_status, transcripts
from airflow_provider_assemblyai.api.call import parse_json
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.regions import check_region, named_region
from airflow_provider_assemblyai.api.sanitize import storable, strip_url
from airflow_provider_assemblyai.api.transcripts import Transcript
from airflow_provider_assemblyai.api.validation import check_count, parse_json_text, shown
from airflow_provider_assemblyai.client.http import download
from airflow_provider_assemblyai.jobs import captions
from airflow_provider_assemblyai.storage.atomic_files import (
    OutputFiles,
    as_json,
    open_path,
    read_file,
    store_errors,
)

Format = Literal["json", "txt", "srt", "vtt", "sentences", "paragraphs", "redacted_audio"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
DEFAULT_FORMATS: Final[tuple[Format, ...]] = ("json", "txt")
#: What can be made of words with times, where the service has nothing to ask for.
TIMED_FORMATS: Final[tuple[Format, ...]] = ("srt", "vtt", "sentences", "paragraphs")

#: Bytes of text that may go to XCom, which lives in Airflow's database.
MAX_XCOM_TEXT: Final = 256 * 1024
#: Seconds that each request for a result is given, also when the time of the task is over: the result is paid for.
RESULT_TIMEOUT: Final = 30.0
#: Seconds for a file that the service links to.
_MAX_DOWNLOAD: Final = 600.0
#: Characters of a caption that is as long as a text.
_MAX_CAPTION: Final = 10_000

#: Of the file of each format, where it is not the name of the format.
_SUFFIXES: Final = {
    "sentences": "sentences.json",
    "paragraphs": "paragraphs.json",
    "redacted_audio": "redacted.mp3",
}

Send = Callable[[Any], Any]
F = TypeVar("F", bound=str)


class Summary(TypedDict):
    """
    What the operators and the sensor return: small and JSON.

    :ivar transcript_id: id of the transcript; None of a clip, of which the service keeps nothing.
    :ivar status: ``completed``, or ``queued``/``processing`` if the task did not wait.
    :ivar region: ``us`` or ``eu``, where the transcript lives.
    :ivar text: the whole text, or None: not asked for, too long, or not there yet.
    :ivar audio_duration: seconds, or None.
    :ivar language_code: the spoken language, or None.
    :ivar confidence: 0 to 1, or None.
    :ivar speech_model_used: the model that ran, or None.
    :ivar warnings: what was done differently from what was asked.
    :ivar outputs: format -> URI of what was written.
    :ivar estimated_cost_usd: of the transcript by list price; 0 if the task re-used it or was given a summary that says
        it, None if there is no estimate.
    """

    transcript_id: str | None
    status: str
    region: str
    text: str | None
    audio_duration: float | None
    language_code: str | None
    confidence: float | None
    speech_model_used: str | None
    warnings: list[str]
    outputs: dict[str, str]
    estimated_cost_usd: float | None


def check_formats(given: object, known: Sequence[F]) -> tuple[F, ...]:
    """
    Return the formats, without repeats.

    :param given: the user's argument: a list, or its JSON text.
    :param known: the formats that there are.
    :raises InvalidInput: for an unknown one, or an empty list.
    """
    given = parse_json_text("formats", given)
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray | memoryview):
        raise InvalidInput(f"formats must be a list, not {shown(given)}.")
    wrong = [name for name in given if not isinstance(name, str) or name not in known]
    if wrong or not given:
        problem = shown(wrong[0]) if wrong else "an empty list"
        raise InvalidInput(f"formats: {problem}: choose from {', '.join(known)}.")
    return tuple(dict.fromkeys(given))


def check_redacted_audio(formats: Sequence[str], config: Mapping[str, Any]) -> None:
    """
    Return if the service will have every file that is to be fetched.

    :param formats: what is to be written.
    :param config: what is asked for.
    :raises InvalidInput: it makes no redacted copy of the audio. The job would be paid for, and the task would fail.
    """
    if "redacted_audio" in formats and not config.get("redact_pii_audio"):
        raise InvalidInput(
            "formats: 'redacted_audio' needs redact_pii_audio in config: without it the service makes no such file."
        )


def check_caption_length(chars: int | None) -> int | None:
    """
    Return the characters that a caption may have.

    :param chars: the user's ``chars_per_caption``, or None.
    :raises InvalidInput: it is no such number.
    """
    return None if chars is None else check_count("chars_per_caption", chars, 1, _MAX_CAPTION)


def suffixes_of(formats: Sequence[str]) -> list[str]:
    """Return how the names of the files of these formats end."""
    return [_SUFFIXES.get(name, name) for name in formats]


def resolve_transcript(transcript: object, region: str | None = None) -> tuple[str, str | None]:
    """
    Return the id of a transcript, and the region it lives in if that is known.

    :param transcript: an id, or a :class:`Summary` that another task returned.
    :param region: the region the user named, if any.
    :raises InvalidInput: there is no usable id, or two regions are named.
    """
    named = named_region(region)
    given = transcript.get("transcript_id") if isinstance(transcript, Mapping) else transcript
    if given is None or (isinstance(given, str) and given.strip().lower() in ("", "none")):
        raise InvalidInput(
            f"{shown(given)} is not a transcript id. A clip of TranscribeShortOperator has none, because the service keeps "
            "nothing of it: what needs an id needs a transcript of TranscribeOperator."
        )
    if not isinstance(transcript, Mapping):
        return transcripts.check_id(transcript), named
    home = named_region(transcript.get("region"))
    if named and home and check_region(named) != check_region(home):
        raise InvalidInput(
            f"The transcript lives in region {check_region(home)}, but region={shown(named)} was given."
        )
    return transcripts.check_id(given), named or home


def summarize(
    transcript: Transcript,
    region: str,
    *,
    push_text: bool,
    outputs: Mapping[str, str] | None = None,
    cost: float | None = None,
) -> Summary:
    """
    Return what goes to XCom.

    :param transcript: as the service gave it.
    :param region: where it lives.
    :param push_text: whether to include the text, if it is not too long.
    :param outputs: format -> URI of what was written.
    :param cost: USD, estimated.
    """
    warnings = transcript_status.warnings_of(transcript)
    # Half of a surrogate pair, or NUL, would fail the task after everything is done.
    text = storable(transcript.get("text")) if push_text and transcript["status"] == "completed" else None
    if text is not None and len(text.encode()) > MAX_XCOM_TEXT:
        warnings.append(
            f"The text has {len(text.encode())} bytes, more than the {MAX_XCOM_TEXT} that go to XCom: set output_path."
        )
        text = None
    return {
        "transcript_id": transcript["id"],
        "status": transcript["status"],
        "region": region,
        "text": text,
        "audio_duration": transcript.get("audio_duration"),
        "language_code": transcript.get("language_code"),
        "confidence": transcript.get("confidence"),
        "speech_model_used": transcript.get("speech_model_used"),
        "warnings": warnings,
        "outputs": dict(outputs or {}),
        "estimated_cost_usd": cost,
    }


def restore_summary(
    summary: Mapping[str, Any], *, formats: Sequence[str] = (), folder: str | None = None, push_text: bool
) -> dict[str, Any]:
    """
    Return the summary of what is only in its files any more.

    :param summary: as a task recorded it, without the text: of a transcript, or of a capture.
    :param formats: what the task is to deliver.
    :param folder: where to; None if it writes nothing.
    :param push_text: whether to read the text back.
    :raises InvalidInput: a part of what the task is to deliver was not stored, is elsewhere or gone, or is damaged.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    try:
        stored = {str(name): str(uri) for name, uri in summary["outputs"].items()}
        if summary["status"] not in ("completed", "partial"):
            raise InvalidInput("Its result was not stored, because the task did not wait for it.")
        if lacking := [name for name in formats if name not in stored]:
            raise InvalidInput(f"It was stored without {', '.join(lacking)}.")
        outputs = {name: stored[name] for name in formats}
        for uri in outputs.values():
            _check_there(uri, folder)
        text = _text_in(outputs or stored, summary, push_text=push_text)
        return {**summary, "text": text, "outputs": outputs, "estimated_cost_usd": 0.0}
    except (KeyError, TypeError, AttributeError):
        raise InvalidInput("What was stored of it is damaged.") from None


def _check_there(uri: str, folder: str | None) -> None:
    """Return if a file is where the task is to write it."""
    if folder is not None and uri.rpartition("/")[0] != folder.rstrip("/"):
        raise InvalidInput(f"It was stored as {uri}, and output_path is {folder} now: set it back.")
    path = open_path(uri, "output_path")
    with store_errors("output_path", uri):
        if not path.exists():
            raise InvalidInput(f"{uri} is gone.")


def _text_in(outputs: Mapping[str, str], summary: Mapping[str, Any], *, push_text: bool) -> str | None:
    """Return the text that the files hold, if it is to be pushed; they must be whole, and of this transcript."""
    text: str | None = None
    if "json" in outputs:
        content = read_file(open_path(outputs["json"], "output_path"))
        try:
            whole = parse_json(content or "")
        except (UnexpectedReply, ValueError):
            whole = None
        if not isinstance(whole, dict) or whole.get("id") != summary["transcript_id"]:
            raise InvalidInput(f"{outputs['json']} is damaged, or of another transcript.")
        text = str(whole.get("text") or "")
    if "txt" in outputs:
        content = read_file(open_path(outputs["txt"], "output_path"))
        spoken = summary.get("words") or (text and text.strip())
        if not content or (spoken and not content.strip()):
            raise InvalidInput(f"{outputs['txt']} is damaged.")
        text = content.removesuffix("\n") if text is None else text
    if not push_text:
        return None
    if text is None:
        raise InvalidInput("Its text was not stored.")
    pushed = storable(text)
    return pushed if len(pushed.encode()) <= MAX_XCOM_TEXT else None


def write_files(
    send: Send,
    transcript: Transcript,
    outputs: OutputFiles,
    formats: Sequence[Format],
    *,
    chars_per_caption: int | None = None,
    deadline: float = inf,
) -> dict[str, str]:
    """
    Write the files of a completed transcript; writing them again replaces them.

    :param send: sends a call and returns its value.
    :param transcript: as the service gave it. Of one without an id the service has no exports: they are made here of
        its words, which must have times then.
    :param outputs: where to.
    :param formats: what to write.
    :param chars_per_caption: characters a subtitle line may have; None leaves it to the service.
    :param deadline: of the task; seconds since the epoch.
    :return: format -> URI.
    """
    transcript_id: Any = transcript["id"]
    words = transcript.get("words") or []
    written: dict[str, str] = {}
    # The text first: it is small, and may find room on a disk that is too full for the rest.
    for name in sorted(formats, key=lambda name: name != "txt"):
        match name:
            case "json":
                # The address may hold a signature, and a file outlives it.
                shown = {**transcript, "audio_url": strip_url(transcript.get("audio_url") or "")}
                written[name] = outputs.write("json", as_json(shown))
            case "txt":
                written[name] = outputs.write("txt", f"{transcript.get('text') or ''}\n")
            case "srt" | "vtt" if transcript_id is None:
                make = captions.srt if name == "srt" else captions.vtt
                written[name] = outputs.write(name, make([words], chars_per_caption))
            case "srt" | "vtt":
                export = transcripts.srt if name == "srt" else transcripts.vtt
                written[name] = outputs.write(name, send(export(transcript_id, chars_per_caption)))
            case "sentences" | "paragraphs" if transcript_id is None:
                about = {key: transcript.get(key) for key in ("id", "confidence", "audio_duration")}
                made = captions.sentences(words) if name == "sentences" else captions.paragraphs(words)
                written[name] = outputs.write(f"{name}.json", as_json({**about, name: made}))
            case "sentences" | "paragraphs":
                parts = transcripts.sentences if name == "sentences" else transcripts.paragraphs
                written[name] = outputs.write(f"{name}.json", as_json(send(parts(transcript_id))))
            case "redacted_audio":
                link = send(transcripts.redacted_audio(transcript_id))
                seconds = min(_MAX_DOWNLOAD, max(RESULT_TIMEOUT, deadline - time.time()))
                extension = "wav" if transcript.get("redact_pii_audio_quality") == "wav" else "mp3"
                written[name] = outputs.write(f"redacted.{extension}", download(link, deadline=seconds))
    return {name: written[name] for name in formats}
