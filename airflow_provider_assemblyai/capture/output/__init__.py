# SPDX-License-Identifier: Apache-2.0
"""What a capture leaves: segments on disk, one merged result, captions, and a job for what is missing."""
