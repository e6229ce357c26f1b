# SPDX-License-Identifier: Apache-2.0
"""The only modules that open sockets: requests over HTTP, and the WebSocket of a streaming session."""
