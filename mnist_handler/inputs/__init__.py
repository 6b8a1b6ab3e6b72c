"""A request's inputs as rows that the model takes."""
