"""Reads pickle and joblib files without running what they bring.

`scan` and `allow` are light (standard library); `load` imports numpy and joblib.
"""
