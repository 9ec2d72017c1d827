"""Plain HTTP on this machine: what the httpx clients of tests need for it."""

import ssl

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares each client the 40 ms of loading certificates, which plain HTTP does not need."""
