"""Between wire forms and ``Call`` or ``Reply``, or what is told of models: one module a wire form."""
