"""Pure statistics: distances, intervals, sequential and planned tests, bandits. numpy, scipy."""
