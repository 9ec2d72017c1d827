"""Free TCP ports of 127.0.0.1 for servers that must be told their port before they start.

A server in this process can bind port 0 instead. For child processes, "bind 0, read the number, close, pass
it on" is a race, and a killed server that a test starts again may find its port taken. Three rules prevent
both:

* ports lie below those that kernels choose for outgoing connections (from 32768 on Linux, from 49152 on BSD);
* each process of the test run, so each xdist worker, owns a block of ports that no other process hands out;
* inside its block a process goes round, so a port comes again only after all others.
"""

import functools
import itertools
import os
import random
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"

CLUSTER_BUS_OFFSET = 10_000
"""A cluster node listens on its port and, for other nodes, on this much above it; both are kept free."""

_FIRST_PORT = 12_000
_BLOCK_PORTS = 100
_BLOCKS = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, nor on its cluster bus port.

    Raises:
        RuntimeError: all of this process' ports are in use, or all blocks belong to other processes.
    """
    ports = _ports_of_this_process()
    for port in itertools.islice(ports, _BLOCK_PORTS):
        if _is_free(port) and _is_free(port + CLUSTER_BUS_OFFSET):
            return port
    raise RuntimeError(f"all {_BLOCK_PORTS} ports of this process are in use")


@functools.cache
def _ports_of_this_process() -> Iterator[int]:
    blocks = range(_FIRST_PORT, _FIRST_PORT + _BLOCKS * _BLOCK_PORTS, _BLOCK_PORTS)
    for first in random.SystemRandom().sample(blocks, _BLOCKS):
        if _claim(first):
            return itertools.cycle(range(first, first + _BLOCK_PORTS))
    raise RuntimeError(f"all {_BLOCKS} blocks of ports belong to other processes")


def _claim(first: int) -> bool:
    """Take the block that begins at `first` until this process ends: hold the *UDP* port of that number.

    UDP ports are numbered apart from TCP's, so nobody misses it, and the kernel frees it even after a crash.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as claim:
        try:
            claim.bind((HOST, first))
        except OSError:
            return False
        os.dup(claim.fileno())  # never closed: the copy outlives this block
        return True


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier server in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
