"""The engine: what can be done with mail, knowing neither Flask nor Celery."""
