"""Tests of vncproxy."""
