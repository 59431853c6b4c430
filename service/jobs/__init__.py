"""Training jobs: requests, the queue, the worker and the stages of its work."""
