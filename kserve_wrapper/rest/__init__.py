"""V1 and V2 over HTTP: bare ASGI, so that a request costs little more than its parsing."""
