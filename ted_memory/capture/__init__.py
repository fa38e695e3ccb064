"""What agents do, on its way to the store: recorded off their path, in texts of a bounded size."""
