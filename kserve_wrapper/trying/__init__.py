"""A page in the browser to try a server's models with, made from what the models say of themselves."""
