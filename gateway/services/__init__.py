"""What can be done, one module a noun; the only place with rules, queries and transactions."""
