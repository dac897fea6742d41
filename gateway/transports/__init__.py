"""Ways out: each takes a rendered message and answers with an outcome."""
