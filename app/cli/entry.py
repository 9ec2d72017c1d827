"""The entry point of `sfu-gateway`: what needs no command line runs before it is imported."""

import io
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["healthcheck"]:
        from app.cli.healthcheck import check

        trouble = check()
        sys.stderr.write(f"{trouble}\n" if trouble else "")
        raise SystemExit(1 if trouble else 0)
    make_output_forgiving()
    if sys.argv[1:] == ["serve"]:
        try:
            from app.cli.serving import serve

            serve()
        except KeyboardInterrupt:  # while it loads: a replica that runs ends by itself
            raise SystemExit(1) from None
    else:
        from app.cli.main import cli

        cli()


def make_output_forgiving() -> None:
    """Let standard output show `?` for what its encoding lacks, and take everything where the caller closed it."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
