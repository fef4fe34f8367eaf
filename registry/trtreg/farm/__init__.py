"""The task queue's adapter: Celery on RabbitMQ. Importing it loads no Celery."""
