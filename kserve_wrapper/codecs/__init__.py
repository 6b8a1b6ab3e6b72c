"""Pure functions between a wire form and ``Call`` or ``Reply``, one module a wire form."""
