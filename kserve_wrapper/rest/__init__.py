"""V1 and V2 over HTTP, with nothing between connection and application: a request costs little beyond its parsing."""
