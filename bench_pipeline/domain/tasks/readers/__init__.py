"""The formats that a reply may have, with one strict reader per format. Comparing with the gold is in verdict.py."""
