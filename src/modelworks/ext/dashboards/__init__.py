"""Dashboards for systems that show metrics."""
