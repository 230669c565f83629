"""Whether a cell ranks texts badly or only cuts its scores at a bad threshold."""
