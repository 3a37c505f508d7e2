"""Measurements of this program, not of models: a stub server stands in for the accelerator."""
