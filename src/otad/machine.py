"""placeholder"""


def provenance():
    return {}
