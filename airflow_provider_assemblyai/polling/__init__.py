# SPDX-License-Identifier: Apache-2.0
"""Waiting for transcripts: many of them with one poll of the list, or one on a worker."""
