"""Journey 1, `GET /v1/channel`; `service.py` is the entry."""
