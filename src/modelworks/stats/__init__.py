"""Pure statistics: distances, intervals, sequential tests, many tests at once. numpy and scipy."""
