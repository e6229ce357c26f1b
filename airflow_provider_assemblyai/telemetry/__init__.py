# SPDX-License-Identifier: Apache-2.0
"""What the tasks and triggers of this package count."""
