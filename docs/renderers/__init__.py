"""Renderers of the pages that come from code; `scripts/docs` runs them."""
