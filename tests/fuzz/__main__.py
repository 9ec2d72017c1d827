"""Fuzz one target: `python -m tests.fuzz protocol|answer [libFuzzer options]`. Needs the group `fuzz`."""

import asyncio
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

with atheris.instrument_imports(include=["app.server", "app.upstream"]):
    from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Run until a limit among the options ends it. What it finds new goes beside the saved corpus, not into it."""
    target, *options = sys.argv[1:]
    run = TARGETS[target]
    with asyncio.Runner() as runner:
        atheris.Setup([sys.argv[0], *options, str(CORPUS / target)], lambda data: runner.run(run(data)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
