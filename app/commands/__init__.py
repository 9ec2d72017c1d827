"""Commands of `sfu-gateway`, by what they are about. `app.cli` puts them together.

Imports that only one command needs are inside it: `healthcheck` runs every few seconds in a container.
"""
