"""What was measured and what it shows: samples, the protocol, validity, statistics, the scoreboard."""
