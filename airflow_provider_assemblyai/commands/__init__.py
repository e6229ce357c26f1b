# SPDX-License-Identifier: Apache-2.0
"""The command assemblyai-ledger: what is stored below an output path, and how it is repaired."""
