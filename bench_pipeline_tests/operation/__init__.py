"""Operating the pipeline."""
