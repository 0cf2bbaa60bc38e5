"""Stores of records and feedback: Parquet files in a folder or in a bucket."""
