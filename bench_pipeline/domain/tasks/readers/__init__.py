"""The forms that a reply may have, and one strict reader for each. Gold labels are compared elsewhere."""
