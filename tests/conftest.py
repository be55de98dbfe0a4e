import pytest


def pytest_addoption(parser):
    parser.addoption("--scale", default="laptop", help="scale of the built book that `-m book` checks")


@pytest.fixture(scope="session")
def scale(request):
    return request.config.getoption("--scale")
