# SPDX-License-Identifier: Apache-2.0
"""The endpoints, by product, and what every request passes first."""
