"""Calls outlive their SFU: Odoo is told of calls that have lost theirs; `service.py` is the entry."""
