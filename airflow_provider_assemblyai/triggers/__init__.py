# SPDX-License-Identifier: Apache-2.0
"""Waiting in the triggerer, without a worker slot."""
