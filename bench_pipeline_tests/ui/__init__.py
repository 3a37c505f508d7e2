"""What stands before Dagster's web server, and what keeps it running; `bench ui` as a whole is in test_ui.py."""
