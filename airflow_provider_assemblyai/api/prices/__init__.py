# SPDX-License-Identifier: Apache-2.0
"""AssemblyAI as data: what to ask, what an answer means. No I/O, no clock, no Airflow."""
