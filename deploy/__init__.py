"""What plain machines are deployed with, and `release.py`, which makes one version of every place that names one."""
