"""Who may ask for channels; `tenants.py` is the entry."""
