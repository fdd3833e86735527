"""Training: configurations, batches and the loop."""
