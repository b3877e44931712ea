"""What only an OpenStack deployment has: cells, and nova-compute on the message bus."""
