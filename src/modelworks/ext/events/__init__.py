"""Brokers whose messages ask models."""
