"""Access: who may send which requests, and how many: the token, rate limits, pages of other sites."""
