# SPDX-License-Identifier: Apache-2.0
"""Emulated streaming: sessions, turns, tokens, and their messages."""
