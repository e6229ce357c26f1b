# SPDX-License-Identifier: Apache-2.0
"""The command ``assemblyai-emulator``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.emulator.core.availability import EngineUnavailable
from airflow_provider_assemblyai.emulator.core.options import OptionError, read_text
from airflow_provider_assemblyai.emulator.core.speech import Engine
from airflow_provider_assemblyai.emulator.faults.kinds import EFFECTS
from airflow_provider_assemblyai.emulator.faults.rules import Selection, parse_rule
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream
from airflow_provider_assemblyai.emulator.server.handle import connection_json, make_engine
from airflow_provider_assemblyai.emulator.server.server import RegionServer
from airflow_provider_assemblyai.emulator.service import EXPIRED, Settings
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
LLM_KEY = "ASSEMBLYAI_EMULATOR_LLM_KEY"
_FAULTS_EPILOG = """
faults:
  KIND or KIND:key=value,key=value, or a JSON object, for instance
    --fault rate_limit:path=/v2/transcript,times=3,retry_after=2
    --fault '{"kind": "delay_response", "path": "/v2/transcript/{id}", "seconds": 5, "times": null}'
  POST /_emulator/faults takes the same rules while the emulator runs. Options of all rules:
"""
_OPTIONS_EPILOG = """
options in the address of a socket, for one session: stream faults without their prefix, and switches
  wss://.../v3/ws?sample_rate=16000&emulator=close:3005@12.5,record_audio

options in an audio_url, for one job:
  https://example.com/a.wav?emulator=error:server*2,processing:30,duration:60,lag:5

What it does not do: it does not tell speakers of one channel apart (with --speakers they take turns by
sentence), topics find nothing, summaries quote sentences, translations repeat the text behind the
language's code, and personal data and unsafe content are found with simple patterns only.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGINT or SIGTERM.

    :param argv: arguments; those of the process when absent.
    :return: exit status: 0 after a signal, 2 when it could not start.
    """
    options = make_parser().parse_args(argv)
    # Until the event loop takes the signals over: loading a model takes a moment.
    for number in _SIGNALS:
        signal.signal(number, _exit)
    try:
        faults = [parse_rule(text) for text in options.fault]
        # Loading the model takes a moment; the ready line comes after it.
        engine = make_engine(options.engine, options.model, allow_download=options.allow_download)
        servers = _servers(options, engine)
        for server in servers:
            server.service.add_faults(faults)
    except (EngineUnavailable, OptionError, OSError, OverflowError, ValueError) as error:
        print(f"assemblyai-emulator: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(servers))
    return 0


def _epilog() -> str:
    """All fault kinds, from their declarations, and the other notes."""
    wrap = partial(textwrap.fill, width=100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    lines = [_FAULTS_EPILOG.rstrip(), f"    {', '.join(map(str, Selection.declared().values()))}"]
    for effect in EFFECTS:
        lines += ["", f"  {effect.summary()}:"]
        for kind in effect.__subclasses__():
            lines += [f"    {kind.signature()}", wrap(kind.summary())]
    return "\n".join([*lines, _OPTIONS_EPILOG])


def _exit(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assemblyai-emulator",
        description="A local AssemblyAI: the service's protocol on a port of this machine.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    number = partial(add, type=float, metavar="X")
    count = partial(add, type=int, metavar="N")
    repeatable = partial(add, action="append", default=[])
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    count("--port", default=8765, help="0 for any free port (default %(default)s)")
    add("--region", choices=("us", "eu", "both"), default="us", help="'both' keeps two, with separate data")
    count("--eu-port", default=0, help="port of the EU region with --region both (default any free)")
    engines = ("whisper", "scripted")
    add("--engine", choices=engines, default="whisper", help="recognise speech, or make words up at once")
    add("--model", help="path or faster-whisper name of a model (default the bundled tiny.en)")
    add("--allow-download", action="store_true", help="let --model fetch a model from the network")
    count("--concurrency", default=200, help="jobs at once; more wait (default %(default)s)")
    repeatable("--api-key", metavar="KEY", help="a key, and so a project (repeatable)")
    repeatable("--allow-file", type=Path, metavar="DIR", help="let file:// read below DIR (repeatable)")
    number("--job-seconds", default=0.0, help="how long a job takes at least (default 0)")
    count("--job-polls", default=0, help="reads that still see a job in processing (default 0)")
    repeatable("--fault", metavar="RULE", help="a fault, see below (repeatable)")
    number("--webhook-scale", default=1.0, help="scales the webhooks' 10 s (default 1)")
    gateway = "how the LLM Gateway behaves: limit=5, window=sliding, headers=none, ... (repeatable)"
    repeatable("--gateway", metavar="KEY=VALUE", help=gateway)
    upstream = f"a server with OpenAI's protocol that answers chats; its key in {LLM_KEY}"
    add("--llm-upstream", metavar="URL", help=upstream)
    add("--llm-model", metavar="NAME", help="the model to ask there (default that of each request)")
    number("--speed", default=1.0, help="how fast the emulator's clock runs (default 1)")
    kept = "how long a transcript is kept after its end, in its clock's time; 0.5 are 12 hours (default 30)"
    add("--retention", type=float, default=30.0, metavar="DAYS", help=kept)
    left = "what is left of it then: as after a DELETE (default), or nothing"
    add("--expired", choices=EXPIRED, default=EXPIRED[0], help=left)
    count("--speakers", help="how many speak in each recording, sentence by sentence")
    limits = f"a limit of streaming, one of {', '.join(StreamingLimits.declared())} (repeatable)"
    repeatable("--streaming-limit", metavar="KEY=VALUE", help=limits)
    add("--tls-cert", type=Path, metavar="FILE", help="serve https and wss with this certificate")
    add("--tls-key", type=Path, metavar="FILE", help="its key")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"expected KEY=VALUE, not {text!r}")
    return name, read_text(value)


def _servers(options: argparse.Namespace, engine: Engine) -> list[RegionServer]:
    regions = ("us", "eu") if options.region == "both" else (options.region,)
    gateway = GatewaySettings(**dict(map(_pair, options.gateway)))
    limits = StreamingLimits(**dict(map(_pair, options.streaming_limit)))
    if (options.tls_cert is None) != (options.tls_key is None):
        raise ValueError("--tls-cert and --tls-key go together")
    tls = (options.tls_cert, options.tls_key) if options.tls_cert else None
    upstream = None
    if options.llm_upstream:
        upstream = Upstream(options.llm_upstream, options.llm_model, os.environ.get(LLM_KEY))
    servers = []
    for region in regions:
        settings = Settings(
            region=region,
            api_keys=tuple(options.api_key or ("emulator-key",)),
            concurrency=options.concurrency,
            job_seconds=options.job_seconds,
            job_polls=options.job_polls,
            allow_files=tuple(options.allow_file),
            webhook_scale=options.webhook_scale,
            speed=options.speed,
            retention=options.retention,
            expired=options.expired,
            speakers=options.speakers,
            streaming_limits=limits,
            gateway=gateway,
            upstream=upstream,
        )
        port = options.eu_port if region != regions[0] else options.port
        servers.append(RegionServer(settings, engine, options.host, port, tls))
    return servers


async def _serve(servers: Sequence[RegionServer]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    ready = [asyncio.Event() for _ in servers]
    running = [loop.create_task(server.run(event.set)) for server, event in zip(servers, ready, strict=True)]
    for event in ready:
        await event.wait()
    _print_ready(servers)
    await stopping.wait()
    for server in servers:
        server.stop()
    await asyncio.gather(*running)


def _print_ready(servers: Sequence[RegionServer]) -> None:
    for server in servers:
        settings = server.service.settings
        value = connection_json(server.url, settings.api_keys[0], settings.region)
        # With two regions, the second one needs a Connection of its own.
        name = "DEFAULT" if server is servers[0] else settings.region.upper()
        print(f"AIRFLOW_CONN_ASSEMBLYAI_{name}='{value}'", flush=True)
    urls = {server.service.settings.region: server.url for server in servers}
    print(f"assemblyai-emulator ready {json.dumps(urls)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
