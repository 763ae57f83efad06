"""`fit`: from a suspect model and clean images to a profile.

model -> taps -> descriptors -> features of the reference -> densities and calibration -> one graph
-> profile
"""

from __future__ import annotations

from dataclasses import replace

from scanner.base.compiler_cache import temporary_compiler_cache
from scanner.base.leftovers import scratch_folder
from scanner.base.progress import Progress
from scanner.fitting.blas_threads import one_blas_thread
from scanner.fitting.build_profile import build_profile
from scanner.fitting.choose_preprocess import choose_preprocess
from scanner.fitting.finish_graph import finish_graph
from scanner.fitting.fit_detectors import fit_detectors
from scanner.fitting.gallery import keep_gallery
from scanner.fitting.keep_clean_images import keep_clean_images
from scanner.fitting.open_files import open_files
from scanner.fitting.options import FitOptions
from scanner.fitting.recipe import choose_recipe
from scanner.fitting.result import FitResult
from scanner.fitting.see_reference import see_reference
from scanner.fitting.tap_network import tap_network
from scanner.profile.writer import write_profile


def fit(options: FitOptions, progress: Progress) -> FitResult:
    """Fit a profile and write it.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    recipe = choose_recipe(options)
    opened = open_files(options, progress)
    subject = choose_preprocess(opened, options, progress)
    network = tap_network(subject, recipe, options, progress)
    with temporary_compiler_cache(), one_blas_thread(), scratch_folder() as folder:
        reference = see_reference(subject, network, options, folder, progress)
        detectors = fit_detectors(subject, network, reference, recipe, options, progress)
        scoring = finish_graph(subject, network, reference, detectors, options)
    gallery = keep_gallery(subject, reference, scoring, options)
    clean_images = keep_clean_images(subject, reference, options)
    built = build_profile(subject, network, reference, detectors, scoring, options)
    profile = replace(built, gallery=gallery, clean_images=clean_images)
    write_profile(options.output, profile)
    return FitResult(profile, options.output, options.output.stat().st_size)
