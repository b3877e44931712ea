"""The benchmark: vncproxy and its peers, one after the other, on the same target and client."""
