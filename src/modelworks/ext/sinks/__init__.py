"""Where records are sent on to: webhooks that take CloudEvents, and brokers."""
