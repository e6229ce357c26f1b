# SPDX-License-Identifier: Apache-2.0
"""One streaming session, from its Begin to its end."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from airflow_provider_assemblyai.emulator.core.speech import (
    SAMPLE_BYTES,
    Listener,
    ListenerEvent,
    RecognitionOptions,
    SpeechStarted,
)
from airflow_provider_assemblyai.emulator.core.worker import Worker
from airflow_provider_assemblyai.emulator.faults import kinds
from airflow_provider_assemblyai.emulator.faults.stream_faults import ERRORS, close_text, too_fast
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingManager
from airflow_provider_assemblyai.emulator.streaming.parameters import ParameterError, SessionParameters
from airflow_provider_assemblyai.emulator.streaming.sessions import (
    CLOSED,
    DROPPED,
    EXPIRED,
    INACTIVE,
    TERMINATED,
    SessionRecord,
)
from airflow_provider_assemblyai.emulator.streaming.turns import Turns
from airflow_provider_assemblyai.emulator.streaming.wire import (
    MAX_MESSAGE_BYTES,
    LeakyBucket,
    SessionEnd,
    close_socket,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

_FRAME_MS = (50.0, 1000.0)
_HEARTBEAT_SECONDS = 5.0
_SILENCE_MS = 1000.0
# Of a message, in an Error frame.
_SHOWN = 200


class _Command(Enum):
    FORCE_ENDPOINT = auto()
    TERMINATE = auto()


_Input: TypeAlias = bytes | SessionParameters | _Command


class Session:
    """A session on an accepted socket.

    :param socket: accepted; nothing was sent yet.
    :param streaming: the region's streaming side.
    :param record: its record in the ledger.
    :param parameters: as the client gave them.
    :param faults: what goes wrong in it.
    :param recognition_options: gives the engine's options for the parameters.
    :param break_connection: breaks the connection without a close frame.
    """

    def __init__(
        self,
        socket: WebSocket,
        streaming: StreamingManager,
        record: SessionRecord,
        parameters: SessionParameters,
        faults: Sequence[kinds.SessionFault],
        recognition_options: Callable[[SessionParameters], RecognitionOptions],
        break_connection: Callable[[], None],
    ) -> None:
        self._record = record
        self._socket = socket
        self._streaming = streaming
        self._clock = streaming.clock
        self._parameters = parameters
        self._faults = sorted(faults, key=lambda fault: fault.after)
        self._recognition_options = recognition_options
        self._break_connection = break_connection
        self._turns = Turns(parameters, one_speaker=streaming.engine.reads_media)
        self._inputs: asyncio.Queue[_Input] = asyncio.Queue()
        self._faults_now: asyncio.Queue[kinds.SessionFault] = asyncio.Queue()
        self._look_ahead = LeakyBucket(self._clock.now())
        self._stalled_until = 0.0
        self._ignores_terminate = self._mute = False
        self._stated_seconds: float | None = None
        self._silence_sent_ms = 0.0
        self._revised_turns = 0
        self._revised_at_ms = 0.0
        # Scripted words take no time; only real recognition is worth a thread.
        self._worker = Worker() if streaming.engine.reads_media else None
        self._listener: Listener

    def apply_fault(self, fault: kinds.SessionFault) -> None:
        """Apply a fault now."""
        self._faults_now.put_nowait(fault)

    async def run(self) -> None:
        """Serve the client until the end."""
        self._streaming.sessions[self._record.id] = self
        try:
            options = self._recognition_options(self._parameters)
            try:
                self._listener = await self._run_engine(partial(self._streaming.engine.listen, options))
            except Exception as error:
                await self._end(error)
            else:
                await self._serve()
        finally:
            self._streaming.sessions.pop(self._record.id, None)
            if self._worker is not None:
                await self._worker.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        parts = (
            self._begin_and_recognise,
            self._receive,
            self._watch_limits,
            self._send_heartbeats,
            self._apply_faults_now,
        )
        tasks = [loop.create_task(part()) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        # Of two parts that end at once the one with a reason counts.
        ends = [result for task, result in zip(tasks, results, strict=True) if task in done]
        await self._end(next((end for end in ends if isinstance(end, SessionEnd)), ends[0]))

    async def _end(self, end: BaseException | None) -> None:
        # The client may take its time to answer a close frame; the session is over before.
        self._streaming.sessions.pop(self._record.id, None)
        ledger = self._streaming.ledger
        if isinstance(end, WebSocketDisconnect):
            ledger.leave(self._record, end.code)
            if self._record.ended is None and self._record in ledger:
                self._streaming.expire_later(self._record, self._post_webhook)
                return
        else:
            if not isinstance(end, SessionEnd):
                # The traceback names files and lines, never the text of a turn.
                log.error("streaming session %s failed", self._record.id, exc_info=end)
                end = SessionEnd(CLOSED, 3005, ERRORS[3005])
            # The counters know of the end before the client, which may read them at once.
            ledger.end(self._record, end.reason, end.code)
            if end.code is None:
                self._break_connection()
            else:
                await close_socket(self._socket, end.code, end.error)
        self._post_webhook()

    def _post_webhook(self) -> None:
        values = self._parameters.values
        if values.get("webhook_url") and self._record in self._streaming.ledger:
            name, secret = values.get("webhook_auth_header_name"), values.get("webhook_auth_header_value")
            self._streaming.webhooks.post(
                values["webhook_url"],
                {"session_id": self._record.id, "messages": self._turns.ended},
                {name: secret} if name and secret else {},
            )

    # Messages of the client

    async def _receive(self) -> NoReturn:
        while True:
            await self._wait_for_stall()
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            data: bytes | str = message.get("bytes") or message.get("text") or b""
            if len(data) > MAX_MESSAGE_BYTES:
                raise SessionEnd(CLOSED, 1009, "Message too big: at most 128 KB are allowed")
            if message.get("bytes") is not None:
                await self._receive_audio(message["bytes"])
            else:
                self._receive_command(message.get("text") or "")

    async def _wait_for_stall(self) -> None:
        while (left := self._stalled_until - self._clock.now()) > 0:
            await self._clock.sleep(left)
            self._look_ahead.extend(left)

    async def _receive_audio(self, audio: bytes) -> None:
        record = self._record
        if record.terminate_received:
            return
        now = self._clock.now()
        size = SAMPLE_BYTES.get(self._parameters.encoding)
        if size is not None:
            length = len(audio) * 1000 / (size * self._parameters.sample_rate)
            if not _FRAME_MS[0] <= length <= _FRAME_MS[1]:
                text = f"Input duration violation: {length:g} ms. Expected between 50 and 1000 ms"
                raise SessionEnd(CLOSED, 3007, text)
            self._count_audio(length)
        record.last_activity = now
        if record.audio is not None:
            record.audio += audio
        self._inputs.put_nowait(audio)
        while self._faults and self._faults[0].after * 1000 <= record.audio_ms:
            await self._perform(self._faults.pop(0))

    def _count_audio(self, milliseconds: float) -> None:
        # The limit is for delays in real time: a busy machine, a network that holds packets up.
        record, now = self._record, self._clock.now()
        capacity = self._streaming.limits.look_ahead_seconds * self._clock.speed
        if not self._look_ahead.add(milliseconds / 1000, now, capacity):
            received = (record.audio_ms + milliseconds) / 1000
            raise SessionEnd(CLOSED, 3007, too_fast(received, now - record.opened))
        record.audio_ms += milliseconds

    def _receive_command(self, text: str) -> None:
        try:
            message = json.loads(text)
        except json.JSONDecodeError:
            raise SessionEnd(CLOSED, 3006, f"Invalid JSON: {_shown(text)}") from None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "Terminate":
            if not self._record.terminate_received:
                self._record.terminate_received = True
                if not self._ignores_terminate:
                    self._inputs.put_nowait(_Command.TERMINATE)
        elif kind == "ForceEndpoint":
            self._inputs.put_nowait(_Command.FORCE_ENDPOINT)
        elif kind == "KeepAlive":
            self._record.last_activity = self._clock.now()
        elif kind == "UpdateConfiguration":
            try:
                self._parameters = self._parameters.changed(message)
            except ParameterError as error:
                raise SessionEnd(CLOSED, 3006, str(error)) from None
            self._inputs.put_nowait(self._parameters)
        else:
            raise SessionEnd(CLOSED, 3006, f"Invalid Message: {_shown(text)}")

    # Ends and faults from the emulator's side

    async def _watch_limits(self) -> NoReturn:
        record = self._record
        while (left := record.deadline - self._clock.now()) > 0:
            await self._clock.sleep(left)
        if self._clock.now() >= record.expires_at:
            raise SessionEnd(EXPIRED, 3008, ERRORS[3008])
        text = f"Inactivity timeout: no audio for {record.inactivity_timeout} seconds"
        raise SessionEnd(INACTIVE, 3006, text)

    async def _apply_faults_now(self) -> NoReturn:
        while True:
            await self._perform(await self._faults_now.get())

    async def _perform(self, fault: kinds.SessionFault) -> None:
        if isinstance(fault, kinds.StreamDrop):
            raise SessionEnd(DROPPED)
        if isinstance(fault, kinds.StreamClose):
            raise SessionEnd(CLOSED, fault.code, fault.error or close_text(fault.code))
        if isinstance(fault, kinds.StreamStall):
            self._stalled_until = self._clock.now() + fault.seconds
        elif isinstance(fault, kinds.StreamWarn):
            text = fault.error or "A warning"
            await self._send({"type": "Warning", "warning_code": fault.code, "warning": text})
        elif isinstance(fault, kinds.StreamIgnoreTerminate):
            self._ignores_terminate = True
        elif isinstance(fault, kinds.StreamMute):
            self._mute = self._ignores_terminate = True
        elif isinstance(fault, kinds.StreamStateAudio):
            self._stated_seconds = fault.seconds
        else:
            await self._revise(0)

    # Messages to the client

    async def _send(self, message: dict[str, Any]) -> None:
        # Nothing follows the Termination, which is sent once the session has ended.
        if not self._mute and (self._record.ended is None or message["type"] == "Termination"):
            await self._socket.send_text(json.dumps(message, separators=(",", ":")))

    async def _begin_and_recognise(self) -> NoReturn:
        record, parameters = self._record, self._parameters
        begin = {"type": "Begin", "id": record.id, "expires_at": int(record.expires_at)}
        if parameters.replaces_turns:
            # The older models say nothing of it: tests of the official Node SDK take no other keys.
            begin["configuration"] = parameters.configuration()
        await self._send(begin)
        while True:
            item = await self._inputs.get()
            if isinstance(item, bytes):
                await self._recognise(item)
            elif isinstance(item, SessionParameters):
                self._turns.parameters = item
                await self._run_engine(partial(self._listener.update, self._recognition_options(item)))
            else:
                await self._send_events(await self._run_engine(self._listener.force_endpoint))
                if item is _Command.TERMINATE:
                    await self._terminate()

    async def _recognise(self, audio: bytes) -> None:
        more_waiting = not self._inputs.empty()
        try:
            events = await self._run_engine(partial(self._listener.feed, audio, more_waiting=more_waiting))
        except ValueError as error:
            raise SessionEnd(CLOSED, 3006, f"Invalid audio: {error}") from None
        audio_ms, values = self._listener.audio_ms, self._parameters.values
        if self._parameters.encoding not in SAMPLE_BYTES:
            # Only the decoder knows how long compressed audio is.
            self._count_audio(audio_ms - self._record.audio_ms)
        await self._send_events(events)
        if values.get("acknowledge_silence") and self._parameters.replaces_turns:
            since = max(self._listener.last_speech_ms, self._silence_sent_ms)
            if audio_ms - since >= _SILENCE_MS:
                self._silence_sent_ms = audio_ms
                await self._send({"type": "Silence", "start_ms": int(since), "end_ms": int(audio_ms)})
        interval = values.get("speaker_labels_revision_interval_ms")
        if interval and audio_ms - self._revised_at_ms >= interval:
            self._revised_at_ms = audio_ms
            await self._revise(self._revised_turns)

    async def _run_engine(self, call: Callable[[], T]) -> T:
        return call() if self._worker is None else await self._worker.run(call)

    async def _send_events(self, events: Sequence[ListenerEvent]) -> None:
        for event in events:
            if isinstance(event, SpeechStarted):
                if self._parameters.replaces_turns:
                    await self._send({"type": "SpeechStarted", "timestamp": event.start, "confidence": 0.98})
                continue
            messages = self._turns.messages(event)
            # The record counts a turn before the client knows of it.
            self._record.turns += event.end_of_turn
            for message in messages:
                await self._send(message)
            if event.end_of_turn:
                await self._send_gateway_answer()

    async def _send_gateway_answer(self) -> None:
        config = self._parameters.values.get("llm_gateway")
        if config:
            turn = self._turns.ended[-1]
            text = turn["transcript"]
            answer = await self._streaming.answer_turn(self._record.project, config, text)
            ids = {"turn_order": turn["turn_order"], "transcript": text}
            await self._send({"type": "LLMGatewayResponse", **ids, "data": answer})

    async def _revise(self, first: int) -> None:
        message = self._turns.revision(first)
        self._revised_turns = len(self._turns.ended)
        if message is not None:
            await self._send(message)

    async def _terminate(self) -> NoReturn:
        record = self._record
        if "speaker_labels_revision_interval_ms" in self._parameters.values:
            await self._revise(self._revised_turns)
        self._streaming.ledger.end(record, TERMINATED, 1000)
        stated = record.audio_ms / 1000 if self._stated_seconds is None else self._stated_seconds
        await self._send(
            {
                "type": "Termination",
                "audio_duration_seconds": round(stated),
                "session_duration_seconds": round(record.billed(self._clock.now())),
            }
        )
        raise SessionEnd(TERMINATED, 1000)

    async def _send_heartbeats(self) -> NoReturn:
        while True:
            await self._clock.sleep(_HEARTBEAT_SECONDS)
            if self._parameters.enabled("session_heartbeat"):
                duration_ms = (self._clock.now() - self._record.opened) * 1000
                await self._send(
                    {
                        "type": "Heartbeat",
                        "total_audio_received_ms": int(self._record.audio_ms),
                        "total_duration_ms": int(duration_ms),
                        "realtime_factor": round(self._record.audio_ms / duration_ms, 3),
                        "max_speech_probability": self._listener.speech_probability,
                    }
                )
                self._listener.speech_probability = 0.0


def _shown(message: str) -> str:
    return message if len(message) <= _SHOWN else f"{message[:_SHOWN]}..."
