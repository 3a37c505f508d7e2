"""Measurement: what is measured, under which protocol, call by call, and the resulting scoreboard.

What a scoreboard changes in production is in `promotion`.
"""
