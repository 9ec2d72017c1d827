"""What the benchmarks have on their command line."""

import argparse


def is_quick() -> bool:
    """Whether this run was asked to be short; it leaves the documentation alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten; docs stay as they are")
    return bool(parser.parse_args().quick)
