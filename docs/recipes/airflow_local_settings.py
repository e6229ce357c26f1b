# SPDX-License-Identifier: Apache-2.0
"""For a triggerer with 10,000 triggers: Python's garbage collector runs less often, and stops it for less time."""

# [START gc]
import gc

gc.set_threshold(50_000)
# [END gc]
