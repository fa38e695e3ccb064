"""What agents do, on its way into the store: recorded off their path, in texts of a bounded size."""
