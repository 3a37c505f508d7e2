"""Measuring: samples, the protocol, validity, statistics and the scoreboard.

Judging a reply is in `tasks`; what a scoreboard means for production is in `promoting`.
"""
