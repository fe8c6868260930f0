"""Real servers on 127.0.0.1 for the tests: files over HTTP, a proxy, faults."""
