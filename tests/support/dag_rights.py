# SPDX-License-Identifier: Apache-2.0
"""An auth manager with rights for each DAG, as Airflow's large ones have: the one that comes with Airflow knows roles only."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import requests
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from tests.support.airflow_settings import option_variables
from tests.support.emulator_control import TIMEOUT

REPOSITORY: Final = Path(__file__).parents[2]
#: User -> DAG -> names of what may be seen of it; ``*`` is all. A user who is not in it has all DAGs.
Rights = Mapping[str, Mapping[str, list[str]]]
_RIGHTS: Final = "TEST_DAG_RIGHTS"


class DagRightsAuthManager(SimpleAuthManager):
    """Logins and roles of the simple one; of DAGs users see those that they have a right to."""

    def is_authorized_dag(
        self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None
    ) -> bool:
        allowed = super().is_authorized_dag(
            method=method, user=user, access_entity=access_entity, details=details
        )
        rights = json.loads(os.environ[_RIGHTS]).get(user.get_id())
        if not allowed or rights is None:
            return bool(allowed)
        if details is None or details.id is None:
            # As large ones do: it is about any DAG.
            return bool(rights)
        seen = rights.get(details.id, [])
        return bool(seen) and (access_entity is None or "*" in seen or access_entity.name in seen)


class Logins:
    """
    The users of an api-server that has this auth manager.

    :param folder: where their passwords are.
    :param roles: user -> role of the simple auth manager.
    :param rights: of them.
    """

    def __init__(self, folder: Path, roles: Mapping[str, str], rights: Rights) -> None:
        self._passwords = {name: secrets.token_hex(8) for name in roles}
        file = folder / "passwords.json"
        file.write_text(json.dumps(self._passwords))
        core = {
            "auth_manager": f"{DagRightsAuthManager.__module__}.{DagRightsAuthManager.__qualname__}",
            "simple_auth_manager_all_admins": "False",
            "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in roles.items()),
            "simple_auth_manager_passwords_file": str(file),
        }
        self.settings = {
            **option_variables({"core": core}),
            _RIGHTS: json.dumps(rights),
            "PYTHONPATH": str(REPOSITORY),
        }

    def token(self, url: str, name: str) -> str:
        """Log a user in; the token."""
        body = {"username": name, "password": self._passwords[name]}
        answer = requests.post(f"{url}/auth/token", json=body, timeout=TIMEOUT)
        answer.raise_for_status()
        return str(answer.json()["access_token"])
