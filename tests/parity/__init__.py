"""Our PaDiM, PatchCore, CFlow and FastFlow beside anomalib's: the same scores? the same AUROC? how fast?

Both sides get the same feature maps, the same initial weights and the same batches. anomalib's own modules run as they are installed; only
their backbone is put aside, since it needs weights that no package ships. Install the extra into an environment of its own, because
anomalib brings a hundred packages that the book does not need, and run, from the repository's root, on one thread:

    pip install -e .[parity]
    OMP_NUM_THREADS=1 python -m tests.parity heads
    OMP_NUM_THREADS=1 python -m tests.parity auroc --methods padim patchcore
    OMP_NUM_THREADS=1 python -m tests.parity speed --tasks coreset

`heads` takes seconds, `auroc` and `speed` minutes; --methods, --seeds and --tasks cut them into parts. What a part computes replaces its
rows of results/parity_anomalib.json and leaves the others; the page *Beside anomalib* is made of that file. A tree that differs from its
commit is refused. Where anomalib is installed, pytest runs tests/parity/test_heads.py; elsewhere it is skipped.
"""
