"""What was accepted and what is to become of it, kept where no kill can take it."""
