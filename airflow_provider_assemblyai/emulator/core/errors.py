# SPDX-License-Identifier: Apache-2.0
"""The service's error texts: of refused requests and of failed jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

UNAUTHORIZED = "Authentication error, API token missing/invalid"
NOT_FOUND = "Not found"
METHOD_NOT_ALLOWED = "Method not allowed"
UNKNOWN_TRANSCRIPT = "Transcript lookup error, transcript id not found"
FOREIGN_UPLOAD = "Cannot access uploaded file"
TOO_MANY_REQUESTS = "Too Many Requests"
SERVER_ERROR = "Internal Server Error"
NOT_COMPLETED = "This transcript is not completed, so there is nothing to export"
DELETED = "This transcript has been deleted"
STILL_RUNNING = "This transcript cannot be deleted before it is completed or has ended in an error"
NO_REDACTED_AUDIO = (
    "A redacted audio file for this transcript ID doesn't exist. "
    "Try submitting the transcript again with redact_pii_audio set to true."
)
REDACTED_AUDIO_PENDING = (
    "Transcription is still in progress. Redacted audio will be available after it has completed."
)

# Only the bucket behind the upload and redacted-audio links answers in XML.
ACCESS_DENIED_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'


#: Of sync speech to text: status and usual words. A title in lower case, with underscores, is the name.
CLIP_ERRORS: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "the request is malformed"),
    "bad_audio": (400, "the audio cannot be decoded"),
    "audio_too_short": (400, "the audio is too short"),
    "unauthorized": (401, "missing or invalid API key"),
    "audio_too_large": (413, "the audio is too large"),
    "unsupported_media_type": (415, "the audio must be 16-bit WAV or PCM"),
    "too_many_requests": (429, "rate limit exceeded"),
    "inference_error": (500, "the model failed"),
    "capacity_exceeded": (503, "the server is at capacity"),
    "service_unavailable": (503, "the model is still loading"),
    "inference_timeout": (504, "the request exceeded the deadline of 30 s"),
}
#: What its errors look like: problem details, and two older forms.
PROBLEM, CODE, DETAIL = CLIP_FORMS = ("problem", "code", "detail")


class ApiError(Exception):
    """A request that is refused.

    :param status: HTTP status of the answer.
    :param message: value of the ``error`` key of the answer's JSON body.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ClipError(Exception):
    """A clip that is not transcribed.

    :param name: one of :data:`CLIP_ERRORS`.
    :param detail: what is wrong; the usual words when absent.
    :param form: of the body, one of :data:`CLIP_FORMS`.
    """

    def __init__(self, name: str, detail: str | None = None, form: str = PROBLEM) -> None:
        self.status, usual = CLIP_ERRORS[name]
        super().__init__(name)
        self.name = name
        self.detail = detail or usual
        self.form = form

    def body(self) -> dict[str, object]:
        """The answer's JSON."""
        if self.form == CODE:
            return {"error_code": self.name, "message": self.detail}
        if self.form == DETAIL:
            return {"detail": self.detail}
        return {"status": self.status, "title": self.name.replace("_", " ").title(), "detail": self.detail}


class JobError(Exception):
    """A job that ends with status ``error``; the text is what a client reads in ``error``."""


def forbidden_download(url: str, reason: str = "403 Client Error: Forbidden") -> JobError:
    """The file's host refused the download.

    :param url: the ``audio_url`` of the job.
    :param reason: the refusal, as status, class and phrase.
    """
    return JobError(f"Download error to {url}, {reason} for url: {url}")


def failed_download(url: str) -> JobError:
    """The file's host could not be reached or broke off."""
    return JobError(
        f"Download error, unable to download {url}. "
        "Please make sure the file exists and is accessible from the internet."
    )


def inaccessible_file(url: str) -> JobError:
    """There is nothing to read at the address."""
    return JobError(f"Download error, unable to access file at {url}")


def not_audio(media_type: str, description: str) -> JobError:
    """The file holds something else than sound."""
    return JobError(f"File does not appear to contain audio. File type is {media_type} ({description})")


def too_short() -> JobError:
    """Below the service's minimum of 160 milliseconds."""
    return JobError("Audio duration is too short.")


def below_speech_threshold(found: float, wanted: float) -> JobError:
    """Less speech in the file than ``speech_threshold`` asks for."""
    return JobError(
        f"Audio speech threshold {found:.4f} is below the requested speech threshold value {float(wanted)}"
    )


def below_language_confidence(language: str, found: float, wanted: float) -> JobError:
    """The detected language is less certain than ``language_confidence_threshold`` asks for."""
    return JobError(
        f"detected language '{language}', confidence {found:.4f}, "
        f"is below the requested confidence threshold value of '{wanted}'"
    )


def no_spoken_audio() -> JobError:
    """Language detection on silence."""
    return JobError("language_detection cannot be performed on files with no spoken audio.")


def transcoding_failed(media_type: str) -> JobError:
    """An upload whose body was encoded for a form or as JSON."""
    return JobError(f"Transcoding failed. File type {media_type}")


def server_fault() -> JobError:
    """The one failure that is worth submitting again, unchanged."""
    return JobError("Server error, developers have been alerted")


#: Job errors that a URL option or a fault rule can ask for; each is called with the ``audio_url``.
JOB_ERRORS: Mapping[str, Callable[[str], JobError]] = {
    "download": forbidden_download,
    "download_unable": failed_download,
    "access": inaccessible_file,
    "html": lambda url: not_audio("text/html", "HTML document, ASCII text"),
    "short": lambda url: too_short(),
    "threshold": lambda url: below_speech_threshold(0.9461, 1.0),
    "language": lambda url: below_language_confidence("bg", 0.2949, 0.4),
    "no_speech": lambda url: no_spoken_audio(),
    "transcoding": lambda url: transcoding_failed("application/json"),
    "server": lambda url: server_fault(),
}
