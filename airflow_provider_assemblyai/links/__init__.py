# SPDX-License-Identifier: Apache-2.0
"""Links from tasks to pages."""
