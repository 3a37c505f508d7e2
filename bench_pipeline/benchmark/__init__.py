"""The measurement: what is measured, under which protocol, call by call, and the scoreboard that comes of it."""
