"""Training jobs: requests, the queue, the worker and the processes that it starts."""
