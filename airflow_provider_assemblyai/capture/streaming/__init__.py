# SPDX-License-Identifier: Apache-2.0
"""The sessions of a capture: one channel each, and what happens when a connection breaks."""
