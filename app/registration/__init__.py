"""Journey 2, `POST /v1/sfu`; `service.py` is the entry."""
