"""Many models: the table that names them, what is kept of each, and what their reports say together."""
