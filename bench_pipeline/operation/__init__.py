"""Operating the pipeline: why something should run, when it may, and what people are told. Dagster is in automation."""
