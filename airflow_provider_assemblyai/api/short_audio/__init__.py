# SPDX-License-Identifier: Apache-2.0
"""Sync speech to text: a clip of up to two minutes is sent, and its transcript is the answer."""
