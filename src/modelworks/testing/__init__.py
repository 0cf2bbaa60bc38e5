"""Contract suites and fakes, shipped for plug-in authors."""
