"""`python -m workers.agent`."""

from workers.agent.agent import main

main()
