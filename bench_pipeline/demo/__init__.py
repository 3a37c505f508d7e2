"""What a first run needs: a sample production database with its workflow, and a Dagster home. The run: cli/demo.py."""
