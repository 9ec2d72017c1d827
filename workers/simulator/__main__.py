"""`python -m workers.simulator`."""

from workers.simulator.fleet import main

main()
