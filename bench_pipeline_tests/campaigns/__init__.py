"""Campaigns against the promotion: processes that are killed, and processes that race, in numbers.

`crashes` and `races` are programs; `make campaigns` runs them in full and `test_campaigns` with a few trials. Holds no
test of a single behaviour of the promotion: those are in `bench_pipeline_tests/promotion`.
"""
