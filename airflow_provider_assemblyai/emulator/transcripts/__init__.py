# SPDX-License-Identifier: Apache-2.0
"""Emulated pre-recorded transcripts: jobs, their store and sources, webhooks."""
