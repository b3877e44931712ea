"""Tests of the benchmark's pure parts: its figures are only as good as they are."""
