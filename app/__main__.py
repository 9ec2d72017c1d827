"""`python -m app` is `sfu-gateway`."""

from app.cli.main import main

main()
