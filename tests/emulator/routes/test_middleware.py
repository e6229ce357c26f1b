# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.engines.scripted import ScriptedEngine
from airflow_provider_assemblyai.emulator.routes import files, transcripts
from airflow_provider_assemblyai.emulator.service import Service, Settings
from tests.support.emulator_api import Api


def test_rules_and_the_log_know_every_endpoint_by_its_template(api: Api, emulator: Emulator) -> None:
    service = Service(Settings(), ScriptedEngine())
    routes = [*transcripts.routes(service), *files.routes(service)]
    asyncio.run(service.close())
    templates = [route.path for route in routes if "{id}" in route.path]
    assert len(templates) >= 9
    for template in templates:
        emulator.fault("http_status", path=template)
        assert api.get(template.format(id="some-id")).status_code == 500
        assert emulator.requests[-1]["path"] == template


def test_a_path_without_a_route_is_logged_as_it_is(api: Api, emulator: Emulator) -> None:
    assert api.get("/v2/transcript/some-id/nothing").status_code == 404
    assert emulator.requests[-1]["path"] == "/v2/transcript/some-id/nothing"
