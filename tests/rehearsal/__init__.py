"""A rehearsal of paper scale: each study's cells on drawn stand-ins for the papers' data sets, with networks that have learnt nothing.

Layouts and sizes of pictures are the true ones; only data and weights are missing for the real thing. `make rehearse` runs it. Its
scores say nothing about any method.
"""
