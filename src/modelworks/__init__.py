"""Modelworks: the factory that takes trained models to production and keeps them healthy there."""
