"""`python -m app` is `sfu-gateway`."""

from app.cli.entry import main

main()
