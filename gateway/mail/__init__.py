"""Messages as such, without any input or output."""
