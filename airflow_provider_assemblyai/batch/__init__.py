# SPDX-License-Identifier: Apache-2.0
"""What many recordings need that one does not: a list of them, a ledger, a lease, a manifest."""
