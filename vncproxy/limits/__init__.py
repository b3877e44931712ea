"""How much one client, one machine, one token, and all of them together may have."""
