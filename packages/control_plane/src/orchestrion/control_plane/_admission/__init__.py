"""Admission: what a change has to pass before it is written."""
