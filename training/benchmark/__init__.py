"""``gearshift benchmark``: fit every contender fold by fold, keep each forecast, and measure them all alike."""
