"""Steps of `fit` behind the densities."""
