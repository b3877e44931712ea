"""Tests of the OpenStack parts, on real databases, message buses and code of nova's own."""
