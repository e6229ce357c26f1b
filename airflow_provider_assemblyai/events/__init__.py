# SPDX-License-Identifier: Apache-2.0
"""Asset events of transcripts that end: one feed for each account, each transcript at least once."""
