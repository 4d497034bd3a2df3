# SPDX-License-Identifier: MIT
"""Tells pytest of this directory's marker."""


def pytest_configure(config):
    config.addinivalue_line("markers", "bench: runs tools/bench, 10 s or so")
