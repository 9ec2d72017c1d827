"""The entry point of `sfu-gateway`: what needs no command line runs before it is imported."""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["healthcheck"]:
        from app.cli.healthcheck import check

        trouble = check()
        sys.stderr.write(f"{trouble}\n" if trouble else "")
        raise SystemExit(1 if trouble else 0)
    from app.cli.main import cli

    cli()
