"""Door: the `commandpost` command."""
