"""Load generators. Each runs in its own process, so that its CPU is never the server's."""
