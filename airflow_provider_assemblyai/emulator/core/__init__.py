# SPDX-License-Identifier: Apache-2.0
"""What every product of the emulator needs: a clock, bodies, errors, counters, work in the background."""
