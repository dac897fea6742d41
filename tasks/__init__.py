"""Door: the Celery app and its tasks, each a few lines around one service call."""
