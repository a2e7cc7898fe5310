"""The commands of the command line: one thin module each, ``add_arguments(parser)`` and ``run(args) -> exit code``.

Heavy imports happen inside ``run``.
"""
