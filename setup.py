"""Tells setuptools what pyproject.toml cannot: a module that lives inside Twisted's package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["vncproxy", "vncproxy.*"]), "twisted.plugins"],
    package_data={
        "vncproxy": ["py.typed"],
        "vncproxy.web": ["page/*"],
        "vncproxy.console_api": ["page/*"],
    },
    # Only this kind of `pip install -e` puts the checkout on sys.path, where twistd looks.
    options={"editable_wheel": {"mode": "compat"}},
)
