# SPDX-License-Identifier: Apache-2.0
"""The sound of a capture: where it comes from, its recorder, and the spool that holds what is not sent yet."""
