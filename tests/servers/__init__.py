"""Real storage servers on this machine, for tests: each started by a fixture on a free port."""
