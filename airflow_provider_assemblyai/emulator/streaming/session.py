# SPDX-License-Identifier: Apache-2.0
"""One streaming session, from its Begin to whatever ends it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from airflow_provider_assemblyai.emulator.core.live_speech import (
    SAMPLE_BYTES,
    Listener,
    ListenerEvent,
    PartialTurn,
    RecognitionOptions,
    SpeechStarted,
)
from airflow_provider_assemblyai.emulator.core.worker import Worker
from airflow_provider_assemblyai.emulator.faults.stream_faults import ERRORS, StreamFault
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
from airflow_provider_assemblyai.emulator.streaming.wire import LARGEST_MESSAGE, AudioPace, SessionEnd, close

log = logging.getLogger(__name__)
T = TypeVar("T")

_FRAME_MS = (50.0, 1000.0)
_HEARTBEAT = 5.0
_SILENCE_MS = 1000.0


class _ClientGone(Exception):
    """The client has gone."""

    def __init__(self, code: int | None) -> None:
        super().__init__()
        self.code = code


class _Force: ...


class _Finish: ...


_Item: TypeAlias = bytes | SessionParameters | type[_Force] | type[_Finish]


class Session:
    """A session on an accepted socket.

    :param socket: accepted; nothing was sent yet.
    :param streaming: the region's streaming side.
    :param entry: its line in the ledger.
    :param wishes: what was asked for.
    :param acts: what is to happen to it.
    :param ears: how to listen.
    :param cut: breaks the connection off without a close frame.
    """

    def __init__(
        self,
        socket: WebSocket,
        streaming: StreamingManager,
        entry: SessionRecord,
        wishes: SessionParameters,
        acts: Sequence[StreamFault],
        ears: Callable[[SessionParameters], RecognitionOptions],
        cut: Callable[[], None],
    ) -> None:
        self.entry = entry
        self._socket = socket
        self._streaming = streaming
        self._clock = streaming.clock
        self._wishes = wishes
        self._acts = sorted(acts, key=lambda act: act.after)
        self._ears = ears
        self._cut = cut
        self._turns = Turns(wishes, one_speaker=streaming.engine.reads_media)
        self._inbox: asyncio.Queue[_Item] = asyncio.Queue()
        self._orders: asyncio.Queue[StreamFault] = asyncio.Queue()
        self._pace = AudioPace(self._clock.now())
        self._stalled_until = 0.0
        self._deaf = False
        self._silence_told = 0.0
        self._revised = 0
        self._revised_at = 0.0
        # Scripted words are made in no time; only listening is worth a thread.
        self._worker = Worker() if streaming.engine.reads_media else None
        self._listener: Listener

    def order(self, act: StreamFault) -> None:
        """Let something happen now."""
        self._orders.put_nowait(act)

    async def run(self) -> None:
        """Serve the client until the end."""
        self._streaming.sessions[self.entry.id] = self
        try:
            listen = partial(self._streaming.engine.listen, self._ears(self._wishes))
            try:
                self._listener = await self._work(listen)
            except Exception as error:
                await self._end(error)
            else:
                await self._serve()
        finally:
            self._streaming.sessions.pop(self.entry.id, None)
            if self._worker is not None:
                await self._worker.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        parts = (self._begin_and_listen, self._read, self._watch, self._beat, self._obey)
        tasks = [loop.create_task(part()) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        # Of two that end at once the one that says more counts.
        ends = [result for task, result in zip(tasks, results, strict=True) if task in done]
        await self._end(next((end for end in ends if isinstance(end, SessionEnd)), ends[0]))

    async def _end(self, end: BaseException | None) -> None:
        # The client may take its time to answer a close frame; the session is over before.
        self._streaming.sessions.pop(self.entry.id, None)
        ledger = self._streaming.ledger
        if isinstance(end, (_ClientGone, WebSocketDisconnect)):
            ledger.leave(self.entry, end.code)
            if self.entry.ended is None and self.entry in ledger:
                self._streaming.gone(self.entry, self._report)
                return
        elif isinstance(end, SessionEnd):
            ledger.end(self.entry, end.how, end.code)
            if end.code is None:
                self._cut()
            else:
                await close(self._socket, end.code, end.error)
        else:
            # The traceback names files and lines, never what was said.
            log.error("streaming session %s failed", self.entry.id, exc_info=end)
            ledger.end(self.entry, CLOSED, 3005)
            await close(self._socket, 3005, ERRORS[3005])
        self._report()

    def _report(self) -> None:
        """Tell the session's webhook."""
        values = self._wishes.values
        if values.get("webhook_url") and self.entry in self._streaming.ledger:
            name, secret = values.get("webhook_auth_header_name"), values.get("webhook_auth_header_value")
            self._streaming.webhooks.post(
                values["webhook_url"],
                {"session_id": self.entry.id, "messages": self._turns.final},
                {name: secret} if name and secret else {},
            )

    # What comes in

    async def _read(self) -> None:
        while True:
            await self._stall()
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise _ClientGone(message.get("code"))
            sound = message.get("bytes")
            if sound is not None:
                await self._frame(sound)
            else:
                await self._order_of_client(message.get("text") or "")

    async def _stall(self) -> None:
        while (left := self._stalled_until - self._clock.now()) > 0:
            await self._clock.sleep(left)
            self._pace.allow(left)

    async def _frame(self, sound: bytes) -> None:
        if len(sound) > LARGEST_MESSAGE:
            raise SessionEnd(CLOSED, 1009, "Message too big: at most 128 KB are allowed")
        if self.entry.terminate:
            return
        now = self._clock.now()
        size = SAMPLE_BYTES.get(self._wishes.encoding)
        if size is not None:
            length = len(sound) * 1000 / (size * self._wishes.sample_rate)
            if not _FRAME_MS[0] <= length <= _FRAME_MS[1]:
                raise SessionEnd(
                    CLOSED,
                    3007,
                    f"Input duration violation: {length:g} ms. Expected between 50 and 1000 ms",
                )
            self._count(length)
        self.entry.active = now
        if self.entry.audio is not None:
            self.entry.audio += sound
        self._inbox.put_nowait(sound)
        while self._acts and self._acts[0].after * 1000 <= self.entry.audio_ms:
            await self._perform(self._acts.pop(0))

    def _count(self, length: float) -> None:
        """More audio has come, in milliseconds."""
        # The slack is for what happens in real time: a busy machine, a network that holds packets up.
        slack = self._streaming.rules.pace_slack * self._clock.speed
        if not self._pace.keeps(length / 1000, self._clock.now(), slack):
            raise SessionEnd(CLOSED, 3007, ERRORS[3007])
        self.entry.audio_ms += length

    async def _order_of_client(self, text: str) -> None:
        if len(text) > LARGEST_MESSAGE:
            raise SessionEnd(CLOSED, 1009, "Message too big: at most 128 KB are allowed")
        try:
            message = json.loads(text)
        except json.JSONDecodeError:
            raise SessionEnd(CLOSED, 3006, "Invalid JSON") from None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "Terminate":
            if not self.entry.terminate:
                self.entry.terminate = True
                if not self._deaf:
                    self._inbox.put_nowait(_Finish)
        elif kind == "ForceEndpoint":
            self._inbox.put_nowait(_Force)
        elif kind == "KeepAlive":
            self.entry.active = self._clock.now()
        elif kind == "UpdateConfiguration":
            try:
                self._wishes = self._wishes.changed(message)
            except ParameterError as error:
                raise SessionEnd(CLOSED, 3006, str(error)) from None
            self._inbox.put_nowait(self._wishes)
        else:
            raise SessionEnd(CLOSED, 3006, f"Invalid message type: {str(kind)[:40]}")

    # What ends it from our side

    async def _watch(self) -> NoReturn:
        while (left := self.entry.idle_limit - self._clock.now()) > 0:
            await self._clock.sleep(left)
        if self._clock.now() >= self.entry.limit:
            raise SessionEnd(EXPIRED, 3008, ERRORS[3008])
        raise SessionEnd(INACTIVE, 3006, f"Inactivity timeout: no audio for {self.entry.inactivity} seconds")

    async def _obey(self) -> NoReturn:
        while True:
            await self._perform(await self._orders.get())

    async def _perform(self, act: StreamFault) -> None:
        if act.kind == "drop":
            raise SessionEnd(DROPPED)
        if act.kind == "close":
            raise SessionEnd(CLOSED, act.code, act.error)
        if act.kind == "stall":
            self._stalled_until = self._clock.now() + act.seconds
        elif act.kind == "warn":
            await self._send(
                {"type": "Warning", "warning_code": act.code, "warning": act.text or "A warning"}
            )
        elif act.kind == "ignore_terminate":
            self._deaf = True
        else:
            await self._revise(0)

    # What goes out

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message, separators=(",", ":")))

    async def _begin_and_listen(self) -> NoReturn:
        await self._send(
            {
                "type": "Begin",
                "id": self.entry.id,
                "expires_at": int(self.entry.limit),
                "configuration": self._wishes.shown(),
            }
        )
        while True:
            item = await self._inbox.get()
            if isinstance(item, bytes):
                await self._hear(item)
            elif isinstance(item, SessionParameters):
                self._turns.wishes = item
                await self._work(partial(self._listener.change, self._ears(item)))
            else:
                await self._tell(await self._work(self._listener.force))
                if item is _Finish:
                    await self._finish()

    async def _hear(self, sound: bytes) -> None:
        hurry = not self._inbox.empty()
        try:
            news = await self._work(partial(self._listener.hear, sound, hurry=hurry))
        except ValueError as error:
            raise SessionEnd(CLOSED, 3006, f"Invalid audio: {error}") from None
        if self._wishes.encoding not in SAMPLE_BYTES:
            # Only who decodes it knows how long it is.
            self._count(self._listener.heard - self.entry.audio_ms)
        await self._tell(news)
        heard, values = self._listener.heard, self._wishes.values
        if values.get("acknowledge_silence") and self._wishes.replaces:
            since = max(self._listener.voice, self._silence_told)
            if heard - since >= _SILENCE_MS:
                self._silence_told = heard
                await self._send({"type": "Silence", "start_ms": int(since), "end_ms": int(heard)})
        interval = values.get("speaker_labels_revision_interval_ms")
        if interval and heard - self._revised_at >= interval:
            self._revised_at = heard
            await self._revise(self._revised)

    async def _work(self, call: Callable[[], T]) -> T:
        return call() if self._worker is None else await self._worker.run(call)

    async def _tell(self, news: Sequence[ListenerEvent]) -> None:
        for piece in news:
            if isinstance(piece, SpeechStarted):
                if self._wishes.replaces:
                    await self._send({"type": "SpeechStarted", "timestamp": piece.at, "confidence": 0.98})
                continue
            for message in self._turns.messages(piece):
                await self._send(message)
            if piece.ended:
                await self._ended(piece)

    async def _ended(self, turn: PartialTurn) -> None:
        self.entry.turns += 1
        config = self._wishes.values.get("llm_gateway")
        if config:
            message = self._turns.final[-1]
            await self._send(
                {
                    "type": "LLMGatewayResponse",
                    "turn_order": message["turn_order"],
                    "transcript": message["transcript"],
                    "data": await self._streaming.answer(self.entry.project, config, message["transcript"]),
                }
            )

    async def _revise(self, since: int) -> None:
        message = self._turns.revision(since)
        self._revised = len(self._turns.final)
        if message is not None:
            await self._send(message)

    async def _finish(self) -> NoReturn:
        if "speaker_labels_revision_interval_ms" in self._wishes.values:
            await self._revise(self._revised)
        # The counters know of the end before the client does, who may ask for them at once.
        self._streaming.ledger.end(self.entry, TERMINATED, 1000)
        await self._send(
            {
                "type": "Termination",
                "audio_duration_seconds": round(self.entry.audio_ms / 1000),
                "session_duration_seconds": round(self.entry.billed(self._clock.now())),
            }
        )
        raise SessionEnd(TERMINATED, 1000)

    async def _beat(self) -> NoReturn:
        while True:
            await self._clock.sleep(_HEARTBEAT)
            if self._wishes.on("session_heartbeat"):
                passed = self._clock.now() - self.entry.opened
                await self._send(
                    {
                        "type": "Heartbeat",
                        "total_audio_received_ms": int(self.entry.audio_ms),
                        "total_duration_ms": int(passed * 1000),
                        "realtime_factor": round(self.entry.audio_ms / (passed * 1000), 3),
                        "max_speech_probability": self._listener.probability,
                    }
                )
                self._listener.probability = 0.0
