# SPDX-License-Identifier: Apache-2.0
"""One transcription at the service: submitted once, resumed after a crash, turned into results."""
