"""The panel's attacks, a module for each kind."""
