"""What an operator sees of a running listener, on an address of its own."""
