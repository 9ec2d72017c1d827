"""Fuzz targets for what strangers and SFUs send; `scripts/fuzz` runs them with atheris."""
