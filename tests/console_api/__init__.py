"""Tests of the console API."""
