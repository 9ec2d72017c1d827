"""uvicorn with the limits that a public port needs; `uvicorn_server.py` is the entry."""
