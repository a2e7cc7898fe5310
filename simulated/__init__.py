"""Systems whose truth is known by construction: what the benchmarks and the tests both measure against.

Servers of an exact schedule, runs of a stated power, devices whose constraint is a derivative, noise of known spread.
Nothing here asks the code under test what is true. Benchmarks and tests import it; it imports neither, nor they each
other (tests/test_house.py).
"""
