"""`cconv info`: what this build is and what it runs on."""

from .._config import show_config
from .arguments import add_json, described
from .messages import print_json

__all__ = ["add_to"]

EXAMPLES = """
examples:
  cconv info
  cconv info --json
"""


def add_to(commands):
    options = described("Show the version, the CPU level in use, threads and how the kernels were built.", EXAMPLES)
    parser = commands.add_parser("info", aliases=["config"], help="show the version and the build", **options)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options):
    """Print it."""
    if options.json:
        print_json(show_config(mode="dicts"))
    else:
        show_config()
