"""Tests of vncproxy."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("vncproxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vncproxy")
# It is how trial tells its workers where to find this package; other Pythons that tests start, and
# the venvs that they make, have their own.
os.environ.pop("PYTHONPATH", None)
