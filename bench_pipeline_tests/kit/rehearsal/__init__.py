"""The deployment of deploy/ on one machine, for end-to-end tests and for `make up`."""

from bench_pipeline_tests.kit.rehearsal.grading import rehearsal_of_grading
from bench_pipeline_tests.kit.rehearsal.rehearsal import NO_NGINX, OPERATOR, VIEWER, Rehearsal, nginx_program

__all__ = ["NO_NGINX", "OPERATOR", "VIEWER", "Rehearsal", "nginx_program", "rehearsal_of_grading"]
