"""V2 tensors: datatypes, and their bytes on the wire."""
