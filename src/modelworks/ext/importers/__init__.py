"""Importers: one folder a framework."""
