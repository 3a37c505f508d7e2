"""What Dagster loads in a deployment: a code location that measures, and one that promotes."""
