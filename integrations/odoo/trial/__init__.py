"""A call of four in a running Odoo whose SFU is killed; `__main__.py` is the command."""
