"""Dagster's web server and daemon, started as one program. What they show is in definitions.py."""
