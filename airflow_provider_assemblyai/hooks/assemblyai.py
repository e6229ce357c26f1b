# SPDX-License-Identifier: Apache-2.0
"""From an Airflow Connection to clients of the service, and from our errors to Airflow's."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    BaseHook,
    Connection,
    mask_secret,
)

from airflow_provider_assemblyai.api import llm_gateway, streaming, transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.prices.estimates import PriceList, check_prices
from airflow_provider_assemblyai.api.regions import Hosts, hosts_for, is_loopback, named_region
from airflow_provider_assemblyai.api.validation import check_text, shown
from airflow_provider_assemblyai.client.http import AsyncClient, Client, check_key

T = TypeVar("T")


@dataclass(frozen=True)
class GatewaySettings:
    """
    What a connection sets for the LLM Gateway.

    :param model: the model of tasks that name none.
    :param requests_per_minute: the pace that one triggerer keeps to, for each model; None leaves it to the service.
    """

    model: str | None = None
    requests_per_minute: float | None = None


class AssemblyAIHook(BaseHook):
    """
    Calls AssemblyAI with the key and region of an Airflow Connection.

    Every endpoint is a function in :mod:`airflow_provider_assemblyai.api`, sent with :meth:`send`::

        hook = AssemblyAIHook()
        found = hook.send(transcripts.word_search(transcript_id, ["invoice", "due date"]))

    :param assemblyai_conn_id: the connection: password = API key, extra ``region`` = ``us`` or ``eu``.
    :param region: the region to use instead of the connection's, to follow a job that was made there.
    :param pause: waits some seconds between two attempts; raises to give up.
    :param deadline: when requests and their repeats end; seconds since the epoch.
    :param min_timeout: seconds that each call is given even if the deadline is over.
    :raises InvalidInput: the name of the connection is not text, or the region is not.

    https://www.assemblyai.com/docs/api-reference/overview
    """

    conn_name_attr = "assemblyai_conn_id"
    default_conn_name = "assemblyai_default"
    conn_type = "assemblyai"
    hook_name = "AssemblyAI"

    def __init__(
        self,
        assemblyai_conn_id: str = default_conn_name,
        region: str | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
        deadline: float = math.inf,
        min_timeout: float = 0.0,
    ) -> None:
        super().__init__()
        self.assemblyai_conn_id = check_text("assemblyai_conn_id", assemblyai_conn_id)
        self._region = named_region(region)
        self._pause = pause
        self._deadline = deadline
        self._min_timeout = min_timeout

    @cached_property
    def client(self) -> Client:
        """
        The client of this hook, made at first use.

        :raises InvalidInput: the connection is missing or cannot work.
        """
        key, hosts = self._read_settings()
        return Client(
            key,
            hosts,
            pause=self._pause,
            deadline=self._deadline,
            min_timeout=self._min_timeout,
            conn_id=self.assemblyai_conn_id,
        )

    def get_conn(self) -> Client:
        """Return the client of this hook."""
        return self.client

    @property
    def region(self) -> str:
        """The region that calls of this hook go to."""
        return self.client.hosts.region

    def send(self, call: Call[T], *, before: Callable[[], None] | None = None) -> T:
        """
        Send a call and return its value; see :meth:`airflow_provider_assemblyai.client.http.Client.send`.

        :param call: made by a function of :mod:`airflow_provider_assemblyai.api`.
        :param before: run directly before every attempt.
        """
        return self.client.send(call, before=before)

    def pages(self, call: Call[T]) -> Iterator[T]:
        """
        Yield the value of a call and of all pages that follow it.

        :param call: for example ``transcripts.list_page(status="completed")``.
        """
        return self.client.pages(call)

    def models(self) -> list[llm_gateway.Model]:
        """Return the models of the LLM Gateway in this region, with prices and what they support."""
        return self.send(llm_gateway.models())

    @property
    def gateway(self) -> GatewaySettings:
        """What the connection sets for the LLM Gateway."""
        return self._gateway(self._named_extra(self._read_connection()))

    @cached_property
    def prices(self) -> PriceList:
        """The list prices of this region, as the connection overrides them."""
        return PriceList(self.region, check_prices(self._named_extra(self._read_connection()).get("prices")))

    def streaming_token(self, max_session: float) -> str:
        """
        Return a temporary token that opens one streaming session within the next minute.

        :param max_session: seconds after which the service ends that session, 60 to 10,800.
        """
        token = self.send(streaming.token(max_session))
        mask_secret(token)
        return token

    async def async_client(self) -> AsyncClient:
        """Return a new client for an event loop; use it as ``async with``."""
        key, hosts, _ = await self._read_async()
        return AsyncClient(key, hosts, conn_id=self.assemblyai_conn_id)

    async def gateway_account(self) -> tuple[str, float | None]:
        """
        Return a digest of the account and host, and the model calls a minute that the connection allows.

        :raises InvalidInput: the connection is missing or cannot work.
        """
        key, hosts, extra = await self._read_async()
        digest = hashlib.sha256(f"{key} {hosts.gateway}".encode()).hexdigest()[:16]
        return digest, self._gateway(extra).requests_per_minute

    async def polling_client(self) -> tuple[AsyncClient, float | None]:
        """
        Return a new client for an event loop, and the status requests in 5 minutes that the connection allows.

        :raises InvalidInput: the connection is missing or cannot work.
        """
        key, hosts, extra = await self._read_async()
        return AsyncClient(key, hosts, conn_id=self.assemblyai_conn_id), self._number(
            extra, "status_requests"
        )

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap authenticated call and return what was found, in a sentence."""
        try:
            # Without the id: what a form holds is tested under a random one.
            connection = self._read_connection()
            key, hosts = self._check_settings(connection, _extra_of(connection))
        except InvalidInput as error:
            return False, str(error)
        with Client(key, hosts, max_retry_time=0) as client:
            return _probe(client)

    def _read_connection(self) -> Connection:
        with _explain_missing(self.assemblyai_conn_id), _without_warning():
            return self.get_connection(self.assemblyai_conn_id)

    def _read_settings(self) -> tuple[str, Hosts]:
        connection = self._read_connection()
        return self._settings(connection, self._named_extra(connection))

    async def _read_async(self) -> tuple[str, Hosts, Mapping[str, Any]]:
        with _explain_missing(self.assemblyai_conn_id), _without_warning():
            connection = await get_async_connection(self.assemblyai_conn_id, hook=self)
        extra = self._named_extra(connection)
        return *self._settings(connection, extra), extra

    def _named_extra(self, connection: Connection) -> Mapping[str, Any]:
        with self._name_connection():
            return _extra_of(connection)

    def _settings(self, connection: Connection, extra: Mapping[str, Any]) -> tuple[str, Hosts]:
        with self._name_connection():
            return self._check_settings(connection, extra)

    def _check_settings(self, connection: Connection, extra: Mapping[str, Any]) -> tuple[str, Hosts]:
        key = check_key(connection.password)
        hosts = hosts_for(
            self._region,
            home=extra.get("region"),
            override=_override(connection),
            edge=_is_true(extra.get("streaming_edge")),
            allow_insecure_http=_is_true(extra.get("allow_insecure_http")),
            allow_data_outside_region=_is_true(extra.get("allow_data_outside_region")),
        )
        check_prices(extra.get("prices"))  # before anything is paid for
        return key, hosts

    @contextmanager
    def _name_connection(self) -> Iterator[None]:
        """Let what is wrong with the connection name it."""
        try:
            yield
        except InvalidInput as error:
            raise InvalidInput(f"Connection {shown(self.assemblyai_conn_id)}: {error}") from None

    def _gateway(self, extra: Mapping[str, Any]) -> GatewaySettings:
        model = extra.get("llm_model")
        return GatewaySettings(
            str(model).strip() if model else None, self._number(extra, "requests_per_minute")
        )

    def _number(self, extra: Mapping[str, Any], name: str) -> float | None:
        value = extra.get(name)
        try:
            # A connection given as a URI has only strings, and an untouched form has null or nothing.
            number = float(value) if value not in (None, "") and not isinstance(value, bool) else None
        except (TypeError, ValueError):
            number = math.nan
        if number is not None and not 0 < number < math.inf:
            raise InvalidInput(
                f"Connection {shown(self.assemblyai_conn_id)}: {name} must be a number above zero."
            )
        return number


def _override(connection: Connection) -> str | None:
    """Return the base URL in the connection, which a form, a JSON and a URI spell differently."""
    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" not in host:
        named = urlsplit(f"//{host}").hostname or ""
        scheme = connection.schema if connection.schema in ("http", "https") else None
        host = f"{scheme or ('http' if is_loopback(named) else 'https')}://{host}"
    if connection.port and urlsplit(host).port is None:
        parts = urlsplit(host)
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return host


def _extra_of(connection: Connection) -> Mapping[str, Any]:
    """
    Return the settings in the extra of a connection.

    Airflow's own property registers each value as a secret. Nothing in this extra is one, and Airflow masks the extra
    as a whole.

    :raises InvalidInput: it is no JSON object: a region that is not read would send audio elsewhere.
    """
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise InvalidInput("The extra must be a JSON object.")
    return extra


def _is_true(value: object) -> bool:
    # A connection given as a URI has only strings.
    return value is True or str(value).strip().lower() in ("true", "1", "yes", "on")


@contextmanager
def _without_warning() -> Iterator[None]:
    """
    Have Airflow read a connection without a warning in the log of a healthy task.

    It takes each value of an extra for a secret then, and warns that "us" is too short for one.
    """
    try:
        from airflow.sdk._shared.secrets_masker.secrets_masker import SecretsMasker

        warned = SecretsMasker._has_warned_short_secret
    except (ImportError, AttributeError):  # it is no public part of Airflow
        yield
        return
    SecretsMasker._has_warned_short_secret = True
    try:
        yield
    finally:
        SecretsMasker._has_warned_short_secret = warned


@contextmanager
def _explain_missing(conn_id: str) -> Iterator[None]:
    try:
        yield
    except AirflowNotFoundException:
        raise InvalidInput(
            f"Connection {shown(conn_id)} is not defined: create one of type AssemblyAI with the API key as password."
        ) from None


def _probe(client: Client) -> tuple[bool, str]:
    host = urlsplit(client.hosts.speech).netloc
    where = f"{client.hosts.region.upper()}, {host}"
    try:
        client.send(transcripts.list_page(limit=1))
    except AuthenticationError:
        return (
            False,
            f"The API key was refused by {host}: check the key, and that it is used without 'Bearer'.",
        )
    except TransportError:
        if client.hosts.overridden:
            return False, f"Nothing answers at the host override {host}: check the host and that it is up."
        return False, f"{host} cannot be reached: check the network, the proxy and the firewall."
    except UnexpectedReply:
        return False, f"{host} answers, but not as AssemblyAI does: check the host override."
    except ApiError as error:
        if error.status in (404, 405) or 300 <= error.status < 400:
            return False, f"{host} answers, but not as AssemblyAI does (HTTP {error.status}): check the host."
        return False, f"{host} was reached but did not do the call: {error}"
    return True, f"The API key works and the account is reachable ({where})."


class fail_fast:
    """
    Let Airflow retry only what a retry can help; the one seam between our errors and Airflow's.

    The sentence of an error of ours says it all: a log with the frames that led to it hides it.

    :raises AirflowFailException: from any error of ours that is not retryable.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        if not isinstance(error, AssemblyAIError):
            return
        if error.retryable:
            raise error.with_traceback(None) from None
        raise AirflowFailException(f"{error} {error.advice}".rstrip()) from None
