"""Requests of many clients in few upstream requests."""
