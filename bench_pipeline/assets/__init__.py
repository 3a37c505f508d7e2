"""What people see in Dagster: one module a stage, in the order in which the data flows. Each asset is thin."""
