# SPDX-License-Identifier: Apache-2.0
"""Routes that move files: upload, and the links that behave like the service's CDN."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai.emulator.core.errors import ACCESS_DENIED_XML, ApiError
from airflow_provider_assemblyai.emulator.core.media import HEAD_BYTES
from airflow_provider_assemblyai.emulator.routes.handlers import Handler, authorized, base_url
from airflow_provider_assemblyai.emulator.service import Service
from airflow_provider_assemblyai.emulator.transcripts.redacted_audio import MEDIA_TYPES

_LARGEST_UPLOAD = 2_200_000_000
_BATCH = 1 << 20


@dataclass(slots=True)
class _Received:
    file: IO[bytes]
    size: int = 0
    checksum: int = 0
    head: bytes = b""

    def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            if len(self.head) < HEAD_BYTES:
                self.head += chunk[: HEAD_BYTES - len(self.head)]
            self.checksum = zlib.crc32(chunk, self.checksum)
            self.file.write(chunk)


def routes(service: Service) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    """
    return [
        Route("/v2/upload", authorized(service, _upload), methods=["POST"]),
        Route("/upload/{id}", _denied, methods=["GET"]),
        Route("/redacted/{id}", _redacted(service), methods=["GET"]),
    ]


async def _upload(service: Service, request: Request, project: str) -> Response:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > _LARGEST_UPLOAD:
        raise ApiError(400, "The file is larger than 2.2 GB")
    path = service.store.temporary()
    try:
        received = await _receive(request, path)
    except BaseException:
        # Half a file is no file: the client has disconnected, or it was too large.
        path.unlink(missing_ok=True)
        raise
    token = service.keep_upload(project, path, received.size, received.head, received.checksum)
    return JSONResponse({"upload_url": f"{base_url(request)}/upload/{token}"})


async def _receive(request: Request, path: Path) -> _Received:
    """Write the body to a file, a batch at a time and off the event loop."""
    with path.open("wb") as file:
        received = _Received(file)
        batch: list[bytes] = []
        waiting = 0
        async for chunk in request.stream():
            received.size += len(chunk)
            if received.size > _LARGEST_UPLOAD:
                raise ApiError(400, "The file is larger than 2.2 GB")
            batch.append(chunk)
            waiting += len(chunk)
            if waiting >= _BATCH:
                await asyncio.to_thread(received.write, batch)
                batch, waiting = [], 0
        received.write(batch)
    return received


async def _denied(request: Request) -> Response:
    """Only the service reads an uploaded file."""
    return Response(ACCESS_DENIED_XML, 403, media_type="application/xml")


def _redacted(service: Service) -> Handler:
    async def redacted(request: Request) -> Response:
        path = service.redactions.file(request.path_params["id"])
        if path is None:
            return await _denied(request)
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix.removeprefix(".")])

    return redacted
