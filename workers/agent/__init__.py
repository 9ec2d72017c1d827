"""The agent beside an unchanged SFU; `agent.py` is the entry."""
