# SPDX-License-Identifier: Apache-2.0
"""A paid model call: when it is made, what is sent, and what comes back."""
