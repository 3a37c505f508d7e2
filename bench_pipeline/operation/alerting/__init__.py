"""Alerts: found in our tables, kept as rows, sent to receivers. What is read from Dagster is in automation/."""
