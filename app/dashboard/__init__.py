"""The operators' page: its files, and the view of the fleet that all its viewers share."""
