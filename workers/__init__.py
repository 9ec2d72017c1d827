"""Processes beside the replicas: sweeper, SFU-side agent, simulated SFUs."""
