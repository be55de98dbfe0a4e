# Matter Out of Place: every page executed, then the book. `make book` runs this; on a cluster, with the extra `cluster`:
#   snakemake --executor slurm --jobs 20 --config scale=laptop
import os
import shlex
from pathlib import Path

from otad.publish.inputs import inputs
from otad.publish.processes import command

SCALE = config.get("scale", "laptop")
THREADS = int(config.get("threads", 1))  # of torch and numba, for each page
OTAD = "exec " + shlex.join(command("otad.publish.__main__:main"))  # a job ends with this process
STUDIES = "exec " + shlex.join(command("otad.studies.__main__:main"))
EXECUTED = f"_build/executed/{SCALE}"
ONE_GPU = {"gpu": 1} if SCALE == "paper" else {}
# Where the data sets of scale "paper" lie; a page is executed again when another folder is named.
DATA = str(config.get("data", os.environ.get("OTAD_DATA", ""))) if SCALE == "paper" else ""


def sources(folder, pattern):
    return sorted(str(path) for path in Path(folder).rglob(pattern) if "__pycache__" not in path.parts)


PAGES = [Path(name).stem for name in sources("notebooks", "[0-9]*.py")]
INPUTS = {page: inputs(page) for page in PAGES}  # a page depends on what it imports and reads, not on the whole package
PROSE = sources("book", "*.*") + sources("src/otad/publish", "*.*") + ["_config.yml", "_toc.yml", "CONTRIBUTING.md"]
PROSE += sources("results", "parity_anomalib.json")  # the page Beside anomalib


wildcard_constraints:
    page=r"\d\d_\w+",
    scale=r"\w+",
    study=r"\w+",
    job=r"\d+",


rule book:
    input:
        "_build/book.done",


# The output is the receipt (seconds, memory, versions), written last. The notebook beside it is not named as output because
# Snakemake deletes outputs before a job: the last good one stays until a better one replaces it.
rule execute:
    input:
        lambda wildcards: INPUTS[wildcards.page].files,
    output:
        f"{EXECUTED}/{{page}}.json",
    params:
        data=f"--data {shlex.quote(DATA)}" if DATA else "",
        tables=lambda wildcards: INPUTS[wildcards.page].tables,
    threads: THREADS
    resources:
        **ONE_GPU,
    shell:
        "{OTAD} execute {wildcards.page} --scale {SCALE:q} {params.data} --threads {threads} "
        "--output {EXECUTED:q}/{wildcards.page}.ipynb"


# Cells of a study, about a minute of them; `make results` names the jobs. At paper scale each asks for a GPU.
rule cells:
    output:
        touch("_build/cells/{scale}/{study}/job-{job}.done"),
    threads: THREADS
    resources:
        runtime=120,  # minutes, for schedulers
        mem_mb=8192,
        **ONE_GPU,
    shell:
        "{STUDIES} run {wildcards.study} --scale {wildcards.scale} --job {wildcards.job} --threads {threads}"


# The HTML is built beside _build/html and replaces it in one step; the marker says that it is whole.
rule html:
    input:
        expand(f"{EXECUTED}/{{page}}.json", page=PAGES),
        PROSE,
    output:
        touch("_build/book.done"),
    params:
        scale=SCALE,
    shell:
        "{OTAD} html --scale {params.scale:q}"
