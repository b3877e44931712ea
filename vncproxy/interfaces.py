"""The seams between the parts; no code."""

from __future__ import annotations
