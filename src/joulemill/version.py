"""The version of this package: apart, so that what states it need not import the package as a whole."""

__version__ = "0.1.0"
