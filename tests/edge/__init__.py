"""Tests of the first bytes of a connection."""
