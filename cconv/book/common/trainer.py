"""Training."""

import os
import sys

from ...trainer import Trainer
from . import optimizer
from .optimizer import *

__all__ = ["Trainer", "os", "sys", *optimizer.__all__]
