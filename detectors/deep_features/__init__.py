"""DeepFeatures: class-conditional densities over the activations of many layers (Subedar et al., section 2)."""
