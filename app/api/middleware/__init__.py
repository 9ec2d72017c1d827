"""ASGI middleware; the order is in `app.main`."""
