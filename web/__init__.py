"""The HTTP door: the only home of Flask besides `api.php.py`."""
