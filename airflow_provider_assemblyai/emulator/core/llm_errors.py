# SPDX-License-Identifier: Apache-2.0
"""Errors of the gateway: their texts, and the three envelopes they come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INVALID = "invalid request body"
NO_MESSAGES = "one of messages or prompt required"
CONTEXT = "model context limit exceeded"
REGION = "model_region can only be set to global"
DEPTH = "fallback_config depth cannot be greater than 2"
NO_MODEL_ACCESS = "Your account does not have access to this LLM Gateway model"
NO_ACCESS = (
    "Your account does not have access to LLM Gateway. Please upgrade or contact us at "
    "support@assemblyai.com for more information."
)
NO_TRANSCRIPT = "transcript not found"
DELETED_TRANSCRIPT = "transcript deleted"
RATE_LIMIT = "rate limit exceeded"
OVERLOADED = "the model is overloaded, please try again later"
SERVER = "internal server error"
NOT_JSON = "the answer could not be repaired to JSON"

#: ``current`` is used for what the gateway itself refuses, ``auth`` for what is stopped before it.
CURRENT, AUTH, MARCH = ENVELOPES = ("current", "auth", "march")


class GatewayError(Exception):
    """A call that is refused.

    :param status: HTTP status of the answer.
    :param message: what is wrong.
    :param errors: the single faults of an invalid request.
    :param auth: whether the layer before the gateway refuses.
    """

    def __init__(self, status: int, message: str, errors: Sequence[str] = (), *, auth: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = list(errors)
        self.auth = auth
        self.headers: dict[str, str] = {}

    def body(self, envelope: str, request_id: str) -> dict[str, Any]:
        """The answer's JSON.

        :param envelope: one of :data:`ENVELOPES`; what the layer before refuses keeps its own shape,
            except in March's.
        :param request_id: id of the request.
        """
        shown: dict[str, Any] = {"code": self.status, "message": self.message}
        metadata = {"metadata": {"errors": self.errors}} if self.errors else {}
        if envelope == MARCH:
            return {"error": {**shown, **metadata}}
        if envelope == AUTH or self.auth:
            text = "; ".join([self.message, *self.errors])
            return {"error": text, "status": "error", "request_id": request_id}
        return {**shown, "request_id": request_id, **metadata}


class AnswerUnusable(GatewayError):
    """A model has answered, and is paid, but the answer is not passed on."""


def invalid(*errors: str) -> GatewayError:
    """A request that is malformed.

    :param errors: what is wrong with it.
    """
    return GatewayError(400, INVALID, errors)


def unsupported_model(model: object) -> str:
    """The text for a model that does not exist here, or no longer."""
    return f"model {model} is not supported"


def unsupported(model: str, what: str) -> str:
    """The text for a parameter that a model does not know."""
    return f"model {model} does not support {what}"


def failed_model(status: int) -> GatewayError:
    """What becomes of a call when no model has answered it.

    :param status: that the last model gave.
    """
    if status < 500:
        return GatewayError(status, f"the model refused the request with status {status}")
    return GatewayError(status, OVERLOADED if status in (503, 529) else SERVER)


#: Refusals that a fault rule can ask for, by name: status and text.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "access": (401, NO_ACCESS),
    "model_access": (400, NO_MODEL_ACCESS),
    "overload": (503, OVERLOADED),
    "server": (500, SERVER),
    "transcript": (404, NO_TRANSCRIPT),
}


def refusal(name: str, status: int | None = None) -> GatewayError:
    """A refusal on demand.

    :param name: one of :data:`REFUSALS`.
    :param status: another status than the usual one, for instance 529 for ``overload``.
    """
    usual, text = REFUSALS[name]
    return GatewayError(status or usual, text, auth=name == "access")
