# SPDX-License-Identifier: Apache-2.0
"""Paid calls of models: when they may be made, what is asked, and what becomes of the answer."""
