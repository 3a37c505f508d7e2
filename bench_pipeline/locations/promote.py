"""The code location `promote`: plans, updates production, validates and writes the documents. It measures nothing."""

from bench_pipeline.locations.building import Part, build_location
from bench_pipeline.settings import load_settings

defs = build_location(load_settings(), [Part.PROMOTE])
