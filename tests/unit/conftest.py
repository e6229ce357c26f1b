# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

# Retry policies came with Airflow 3.3: below it there is nothing to test.
collect_ignore = [] if AIRFLOW_V_3_3_PLUS else ["test_retry_policy.py"]
