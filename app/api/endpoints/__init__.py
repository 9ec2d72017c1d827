"""Endpoints, one module per resource; `app.api.routes` lists them."""
