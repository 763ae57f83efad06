"""Network graphs: where to tap them, what to append to them, and running them."""
