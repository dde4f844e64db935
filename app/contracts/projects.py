"""Tenants, as every part of the service names them."""

DEFAULT_PROJECT = "default"
"""Everyone's where keys are off; it is always there."""
