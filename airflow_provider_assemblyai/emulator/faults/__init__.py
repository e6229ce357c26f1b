# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: which requests and sessions meet them, and what then goes wrong."""
