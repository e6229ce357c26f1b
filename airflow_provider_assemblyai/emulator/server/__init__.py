# SPDX-License-Identifier: Apache-2.0
"""The application and the server it runs in, and the ``Emulator`` that a test holds."""
