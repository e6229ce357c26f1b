# SPDX-License-Identifier: Apache-2.0
"""The emulated LLM Gateway: models, rate limits, answers, usage."""
