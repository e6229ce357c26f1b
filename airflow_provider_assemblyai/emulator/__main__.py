# SPDX-License-Identifier: Apache-2.0
"""The command ``assemblyai-emulator``."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.emulator.engines import Engine
from airflow_provider_assemblyai.emulator.engines.availability import EngineUnavailable
from airflow_provider_assemblyai.emulator.faults.rules import FaultError, parse_rule
from airflow_provider_assemblyai.emulator.llm_gateway.settings import GatewaySettings
from airflow_provider_assemblyai.emulator.llm_gateway.upstream import Upstream
from airflow_provider_assemblyai.emulator.server.handle import connection_json, make_engine
from airflow_provider_assemblyai.emulator.server.server import RegionServer
from airflow_provider_assemblyai.emulator.service import Settings
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits
from airflow_provider_assemblyai.emulator.transcripts.jobs import JobTimes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EPILOG = """
faults:
  KIND or KIND:key=value,key=value, or a JSON object, for instance
    --fault rate_limit:path=/v2/transcript,times=3,retry_after=2
    --fault '{"kind": "delay_response", "path": "/v2/transcript/{id}", "seconds": 5, "times": null}'
  kinds: rate_limit http_status delay_response drop_response truncate_response corrupt_response echo_key hold
  reset_connection fail_job list_lag clock_skew duplicate_webhook. POST /_emulator/faults takes the same rules while the emulator runs.
  Of the LLM Gateway: refuse_call model_error llm_status split_choices truncate_stream understanding_error.
  Of streaming: stream_refuse stream_delay_handshake stream_drop stream_close stream_stall stream_warn
  stream_revise_speakers stream_ignore_terminate.

markers in the address of a socket, for one session:
  wss://.../v3/ws?sample_rate=16000&emulator=close:3005@12.5,record_audio

markers in an audio_url, for one job:
  https://example.com/a.wav?emulator=error:server*2,processing:30,duration:60,lag:5

What it does not do: it tells no speakers apart on one channel, topics and content safety find
nothing, summaries quote sentences, translations repeat the text behind the language's code, and
personal data is found with a few patterns only.
"""
LLM_KEY = "ASSEMBLYAI_EMULATOR_LLM_KEY"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGINT or SIGTERM.

    :param argv: arguments; those of the process when absent.
    :return: exit status: 0 after a signal, 2 when it could not start.
    """
    options = _parser().parse_args(argv)
    # Until the event loop takes the signals over: loading a model takes a moment.
    for number in _SIGNALS:
        signal.signal(number, _leave)
    try:
        faults = [parse_rule(text) for text in options.fault]
        # Loading the model takes a moment; whoever waits for the ready line waits for it too.
        engine = make_engine(options.engine, options.model, allow_download=options.allow_download)
        servers = _servers(options, engine)
        for server in servers:
            server.service.add_faults(faults)
    except (EngineUnavailable, FaultError, OSError, OverflowError, ValueError) as error:
        print(f"assemblyai-emulator: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(servers))
    return 0


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assemblyai-emulator",
        description="A local AssemblyAI: the service's protocol on a port of this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8765, help="0 for any free port (default %(default)s)")
    add("--region", choices=("us", "eu", "both"), default="us", help="'both' keeps two, with separate data")
    add("--eu-port", type=int, default=0, help="port of the EU region with --region both (default any free)")
    add(
        "--engine",
        choices=("whisper", "scripted"),
        default="whisper",
        help="listen, or make words up at once",
    )
    add("--model", help="path or faster-whisper name of a model (default the bundled tiny.en)")
    add("--allow-download", action="store_true", help="let --model fetch a model from the network")
    add(
        "--concurrency",
        type=int,
        default=200,
        metavar="N",
        help="jobs at once; more wait (default %(default)s)",
    )
    add("--api-key", action="append", metavar="KEY", help="a key, and so a project (repeatable)")
    add(
        "--allow-file",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        help="let file:// read below DIR",
    )
    add(
        "--job-seconds",
        type=float,
        default=0.0,
        metavar="S",
        help="how long a job takes at least (default 0)",
    )
    add(
        "--job-polls",
        type=int,
        default=0,
        metavar="N",
        help="reads that still see a job in processing (default 0)",
    )
    add(
        "--fault", action="append", default=[], metavar="SPEC", help="what goes wrong, see below (repeatable)"
    )
    add("--webhook-scale", type=float, default=1.0, metavar="X", help="scales the webhooks' 10 s (default 1)")
    add(
        "--gateway",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="how the LLM Gateway behaves: limit=5, window=sliding, headers=none, ... (repeatable)",
    )
    add(
        "--llm-upstream",
        metavar="URL",
        help=f"a server that speaks OpenAI's protocol and answers chats; its key in {LLM_KEY}",
    )
    add("--llm-model", metavar="NAME", help="the model to ask there (default that of each request)")
    add(
        "--speed", type=float, default=1.0, metavar="X", help="how fast the emulator's clock runs (default 1)"
    )
    add(
        "--streaming-limit",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="limits of streaming: new_sessions=5, most_sessions=2, single_use_tokens=true, pace_slack=1, "
        "record_audio=true, marked_audio=true (repeatable)",
    )
    add("--tls-cert", type=Path, metavar="FILE", help="speak https and wss with this certificate")
    add("--tls-key", type=Path, metavar="FILE", help="its key")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _pair(text: str) -> tuple[str, Any]:
    name, mark, value = text.partition("=")
    if not mark:
        raise ValueError(f"expected KEY=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _servers(options: argparse.Namespace, engine: Engine) -> list[RegionServer]:
    regions = ("us", "eu") if options.region == "both" else (options.region,)
    gateway = GatewaySettings().changed(**dict(map(_pair, options.gateway)))
    stream = StreamingLimits().changed(**dict(map(_pair, options.streaming_limit)))
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
            pace=JobTimes(options.job_seconds, options.job_polls),
            allowed=tuple(options.allow_file),
            webhook_scale=options.webhook_scale,
            speed=options.speed,
            stream=stream,
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
    running = [loop.create_task(server.run(event)) for server, event in zip(servers, ready, strict=True)]
    for event in ready:
        await event.wait()
    _announce(servers)
    await stopping.wait()
    for server in servers:
        server.stop()
    await asyncio.gather(*running)


def _announce(servers: Sequence[RegionServer]) -> None:
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
