"""HTTP/1.1. It knows no application."""
