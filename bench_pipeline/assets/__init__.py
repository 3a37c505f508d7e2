"""What people see in Dagster: one module per stage, named and ordered as the data flows. Each asset is thin."""
