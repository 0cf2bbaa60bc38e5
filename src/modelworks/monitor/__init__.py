"""What models do in use: windows of records become series, series become alerts."""
