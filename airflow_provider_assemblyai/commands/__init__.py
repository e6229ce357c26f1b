# SPDX-License-Identifier: Apache-2.0
"""Files and objects of any store."""
