"""The command door: the registry behind `POST /api.php` and its handlers, one module a noun."""
