# SPDX-License-Identifier: Apache-2.0
"""The pages of this provider in Airflow's UI."""
