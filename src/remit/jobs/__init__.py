"""Background work of the authority."""
