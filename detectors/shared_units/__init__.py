"""Units that many inputs share: what a batch says about a backdoor that a single input does not.

A trigger makes a few of a network's units speak up in every input that carries it, whatever the picture shows. Nothing
in one input says which of thousands of units those are, and a density over all of them drowns them in the ordinary
variety of pictures; the batch says it. No class needs many images:

* :mod:`~detectors.shared_units.strata`: which images are compared with one another;
* :mod:`~detectors.shared_units.class_balance`: how many inputs of a class count as evidence;
* :mod:`~detectors.shared_units.reference`: what is kept of the clean images, the loudest values of every unit;
* :mod:`~detectors.shared_units.likelihood_ratio`: how strongly a unit's loudest images are inputs;
* :mod:`~detectors.shared_units.permutation` and :mod:`~detectors.shared_units.exact`: the batch's p-value;
* :mod:`~detectors.shared_units.learn`: what each input says, by units that other inputs chose;
* :mod:`~detectors.shared_units.learn_direction`: likewise by the direction in which suspicious ones differ, with
  :mod:`~detectors.shared_units.clean_scores`, :mod:`~detectors.shared_units.clean_features` and
  :mod:`~detectors.shared_units.whitening`;
* :mod:`~detectors.shared_units.combine` and :mod:`~detectors.shared_units.joint`: both, together with the densities,
  as one p-value an input.
"""
