"""The documentation, and under `renderers` what writes the pages that come from code."""
