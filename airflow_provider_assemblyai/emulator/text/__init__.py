# SPDX-License-Identifier: Apache-2.0
"""What is made of words: results, exports, formatting, redaction, understanding."""
