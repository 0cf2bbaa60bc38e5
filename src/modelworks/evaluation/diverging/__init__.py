"""Where two forms of one model part: the first value that differs, and the likely cause."""
