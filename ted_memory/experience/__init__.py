"""Pure rules about experiences: no I/O, no model, no clock."""
