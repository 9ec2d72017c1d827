"""What is wrong, in one list: `GET /v1/diagnosis`, `sfu-gateway why` and the dashboard. `rules.py` is the entry."""
