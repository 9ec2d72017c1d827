"""`python -m app` is `sfu-gateway`."""

from app.cli import main

main()
