# SPDX-License-Identifier: Apache-2.0
"""Time-boxed recordings with live text."""
