"""What everything else is built on: calls, errors, the data plane, deadlines. It decides nothing about I/O."""
