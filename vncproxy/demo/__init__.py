"""A console without a virtual machine: a small RFB server, to try an installation with."""
