"""Databases that are broken in one way each: `bench doctor` names the fault, and its remedy works when it is typed."""
