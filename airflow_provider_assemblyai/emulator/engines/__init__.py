# SPDX-License-Identifier: Apache-2.0
"""Engines that turn audio into words: scripted and Whisper, for jobs and for streaming."""
