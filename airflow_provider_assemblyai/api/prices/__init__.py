# SPDX-License-Identifier: Apache-2.0
"""What transcripts, clips, answers and sessions cost by list price."""
