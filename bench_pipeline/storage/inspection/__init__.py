"""Inspects a PostgreSQL database by its catalogue: what would stop a benchmark or a promotion, and what is unsafe.

Every module only reads, and is named for what it inspects. Who shows the findings is `cli/doctor.py`, who refuses
because of them `storage/writers/installation.py`.
"""
